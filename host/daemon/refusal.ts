/** Configurations that are well formed, and cannot be brought about here or now. */
import { coveredHosts } from '../config/resolve.js';
import { nextHopOf, noNextHop } from '../frontend/next-hop.js';
import type { InterfaceAddress } from '../frontend/router-id.js';
import { readQueues } from '../queue/proc.js';
import type { Config } from '../types/config.js';
import { ClashError, ConfigError } from '../types/errors.js';
import { hexadecimal } from '../types/marks.js';
import { type Bank, banksOf, bankText, freeBank } from './bank.js';

/** @throws ConfigError if a VIP covers an address of this host, of a gateway or of a target: traffic to it would be balanced */
export function refuseCoveredHosts(config: Config, addresses: readonly InterfaceAddress[]): void {
  const own = addresses.map(ip => ({ ip, owner: 'this host' }));
  const gateways = config.gateways.flatMap(gateway =>
    gateway.ips.map(ip => ({ ip, owner: `gateway ${gateway.name}` })),
  );
  const targets = config.streams.flatMap(stream =>
    stream.targets.flatMap(target =>
      target.ips.map(ip => ({ ip, owner: `target ${stream.name}/${target.identifier}` })),
    ),
  );
  const faults = coveredHosts(config, [...own, ...gateways, ...targets]);
  if (faults.length > 0) throw new ConfigError(faults);
}

/** @throws ConfigError if gateways with link-local addresses could be sent no next hop of the VIPs */
export function refuseNoNextHop(
  { gateways, interfaces: { external } }: Config,
  addresses: readonly InterfaceAddress[],
): void {
  if (nextHopOf(addresses, external) !== null) return;
  const faults = noNextHop(gateways, external);
  if (faults.length > 0) throw new ConfigError(faults);
}

/** @throws ClashError that names the numbers, if none are free */
export function bankBeside(configured: Bank, inUse: Bank): Bank {
  const bound = readQueues();
  const bank = freeBank(configured, inUse, new Set(bound.map(({ queue }) => queue)));
  if (bank !== null) return bank;
  const tried = banksOf(configured, inUse).map(bankText);
  throw new ClashError(
    `--takeover: no free queue numbers beside ${bankText(inUse)}, which are in use: tried ${tried.join(', ')}; ` +
      `bound in this namespace are ${bound.map(({ queue }) => queue).join(', ')}`,
  );
}

/** @throws ConfigError naming what a running daemon cannot change: its queues are bound and their lengths set */
export function refuseRestartOnly(former: Config, config: Config): void {
  const faults: string[] = [];
  const text = ({ queues }: Config) => `${queues.first}:${queues.last}`;
  if (text(former) !== text(config))
    faults.push(`queues: ${text(config)} takes effect at the next start; ${text(former)} are bound now`);
  if (former.queueLength !== config.queueLength) {
    faults.push(
      `queueLength: ${config.queueLength} takes effect at the next start; it is ${former.queueLength} now`,
    );
  }
  if (former.queueSpinMicroseconds !== config.queueSpinMicroseconds) {
    faults.push(
      `queueSpinMicroseconds: ${config.queueSpinMicroseconds} takes effect at the next start; it is ${former.queueSpinMicroseconds} now`,
    );
  }
  if (former.markMask !== config.markMask) {
    faults.push(
      `markMask: ${hexadecimal(config.markMask)} takes effect at the next start; it is ${hexadecimal(former.markMask)} now`,
    );
  }
  if (former.fragmentTimeoutMs !== config.fragmentTimeoutMs) {
    faults.push(
      `fragmentTimeout: ${config.fragmentTimeoutMs}ms takes effect at the next start; it is ${former.fragmentTimeoutMs}ms now`,
    );
  }
  if (faults.length > 0) throw new ConfigError(faults);
}
