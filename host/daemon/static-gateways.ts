/**
 * Which static gateways without BFD can be reached: nothing but their neighbour entry tells. One is lost when the kernel's
 * own questions stay without an answer (FAILED), never for an entry that is old (STALE). It is back when it answers.
 */
import type { GatewayReach } from '../kernel/gateway-reach.js';
import { missingExternal, noInterface } from '../kernel/interfaces.js';
import type { NextHop } from '../kernel/wanted.js';
import type { Config, Host } from '../types/config.js';

/** Static gateways that no session judges. */
export function watchedGateways({ gateways }: Pick<Config, 'gateways'>): Host[] {
  return gateways.flatMap(({ protocol, bfd, ips }) => (protocol === 'static' && bfd === null ? ips : []));
}

export class StaticGateways {
  /** Reasons by address. */
  unreachable: ReadonlyMap<string, string> = new Map();
  /** Those that answered last, by `keyOf`. */
  private answering: ReadonlySet<string> = new Set();

  /** An entry that is being made, or made again, tells nothing: what was so before is so still. */
  judge(reach: readonly GatewayReach[]): void {
    const answering = new Set<string>();
    const unreachable = new Map<string, string>();
    for (const hop of reach) {
      const { address, device, state } = hop;
      if (state === 'valid' || (state !== 'failed' && this.answering.has(keyOf(hop))))
        answering.add(keyOf(hop));
      else if (state === 'failed' || this.unreachable.get(address) === silent(hop))
        unreachable.set(address, silent(hop));
      else unreachable.set(address, `${address} on ${device} has not answered yet`);
    }
    this.answering = answering;
    this.unreachable = unreachable;
  }

  /**
   * Why gateways are down, by address: a gateway of any kind needs its interface.
   * @param missing see `missingInterfaces`
   */
  reasons({ gateways, interfaces }: Config, missing: readonly string[]): ReadonlyMap<string, string> {
    const { external } = interfaces;
    if (external === null || !missing.includes(missingExternal(external))) return this.unreachable;
    const addresses = gateways.flatMap(({ ips }) => ips.map(({ address }) => address));
    return new Map(addresses.map(address => [address, noInterface(external)]));
  }
}

const silent = ({ address, device }: NextHop): string => `no answer from ${address} on ${device}`;
const keyOf = ({ address, device }: NextHop): string => `${address} ${device}`;
