/**
 * Targets behind one link, each in a namespace of its own: both own the VIPs on their loopback, and each has its mark, rule
 * and table in this namespace, as the daemon makes them.
 *
 *     this namespace - conduit - namespace switch (a bridge) - namespaces t44 and t73
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import type { Host } from '../../host/types/config.js';
import { shell } from '../kernel/namespace.js';

export const VIP: Host = { family: 4, address: '20.0.0.1' };
export const VIP6: Host = { family: 6, address: '2000::1' };

/** Ports of the targets' servers, which are bound to the VIPs alone. */
export const PORT = { http: 80, silent: 81, closed: 82 } as const;

export interface Place {
  readonly name: string;
  readonly fwmark: number;
  readonly ips: readonly [ipv4: Host, ipv6: Host];
}

const placeOf = (identifier: number, host: number): Place => ({
  name: `t${identifier}`,
  fwmark: 5000 + identifier,
  ips: [
    { family: 4, address: `172.16.1.${host}` },
    { family: 6, address: `fd00:0:0:1::${host}` },
  ],
});

export const FIRST = placeOf(44, 6);
export const SECOND = placeOf(73, 8);
/** Nobody: what is sent to it vanishes. */
export const HOLE = placeOf(99, 99);

const lines = (text: string) => shell(text.trim().split('\n').join(' && '));

export function makeTopology(): void {
  lines(`
    mkdir -p /run/netns
    mount -t tmpfs none /run/netns
    ip link set lo up
    ip netns add switch
    ip -n switch link add bridge type bridge
    ip -n switch link set bridge up
    ip link add conduit type veth peer name conduit netns switch
    ip -n switch link set conduit master bridge up`);
  for (const { name, ips } of [FIRST, SECOND]) {
    lines(`
      ip netns add ${name}
      ip -n switch link add ${name} type veth peer name conduit netns ${name}
      ip -n switch link set ${name} master bridge up
      ip -n ${name} link set lo up
      ip -n ${name} link set conduit up
      ip -n ${name} addr add ${ips[0].address}/24 dev conduit
      ip -n ${name} addr add ${ips[1].address}/64 dev conduit nodad
      ip -n ${name} addr add ${VIP.address}/32 dev lo
      ip -n ${name} addr add ${VIP6.address}/128 dev lo nodad`);
  }
  // The daemon's other rules: what bears a mark and has no route, and what comes from a VIP, goes nowhere.
  for (const { family, address } of [VIP, VIP6]) {
    shell(`ip -${family} rule add from ${address} lookup 4097 priority 101`);
    shell(`ip -${family} route add blackhole default table 4097`);
    for (const { fwmark } of [FIRST, SECOND, HOLE]) {
      shell(`ip -${family} rule add fwmark ${fwmark} blackhole priority 102`);
    }
  }
  connect();
}

/** Bring the link up with all that a link that goes down takes with it. */
export function connect(): void {
  lines(`
    ip link set conduit up
    ip addr replace 172.16.1.4/24 dev conduit
    ip addr replace fd00:0:0:1::4/64 dev conduit nodad`);
  for (const { fwmark, ips } of [FIRST, SECOND, HOLE]) {
    for (const { family, address } of ips) {
      const rules = shell(`ip -${family} rule list lookup ${fwmark}`);
      if (rules === '') shell(`ip -${family} rule add fwmark ${fwmark} lookup ${fwmark} priority 99`);
      shell(`ip -${family} route replace default via ${address} dev conduit table ${fwmark}`);
    }
  }
  for (const { address } of HOLE.ips) {
    shell(`ip neigh replace ${address} lladdr 02:00:00:00:00:99 dev conduit`);
  }
}

/** Start a target's servers; resolves once they listen. */
export async function serve({ name }: Place): Promise<ChildProcess> {
  const server = fileURLToPath(new URL('./server.js', import.meta.url));
  const child = spawn('ip', ['netns', 'exec', name, process.execPath, server, VIP.address, VIP6.address], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  child.unref();
  await once(child.stdout!, 'data');
  (child.stdout as Socket).unref();
  return child;
}
