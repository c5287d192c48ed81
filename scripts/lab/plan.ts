/** The reference document's network: who has which address. Everything in the laboratory is built from these values. */
import type { Family } from '../../host/types/config.js';

export const FAMILIES: readonly Family[] = [4, 6];
export const FAMILY_NAMES: Readonly<Record<Family, 'ipv4' | 'ipv6'>> = { 4: 'ipv4', 6: 'ipv6' };

/** One text per family. */
export type Pair = Readonly<Record<Family, string>>;

export const VIP: Pair = { 4: '20.0.0.1', 6: '2000::1' };
export const TCP_PORT = 4000;
export const UDP_PORT = 4001;

/** Bytes: what the gateway sends to a VIP leaves in packets of at most this. IPv6 allows no less than 1,280. */
export const CLIENT_MTU = 1300;

/** The link between gateway and load balancer. */
export const EXTERNAL = {
  name: 'ext-vlan0',
  gateway: { 4: '169.254.100.150', 6: '100:100::150' },
  loadBalancer: { 4: '169.254.100.149', 6: '100:100::149' },
  prefix: { 4: '24', 6: '64' },
} as const;

/** The gateway of the reference, and another one beside it. */
export const GATEWAYS: readonly Pair[] = [EXTERNAL.gateway, { 4: '169.254.100.151', 6: '100:100::151' }];

/** The network between two gateways and the clients behind them. */
export const ACCESS = {
  name: 'access',
  clients: { 4: '198.51.100.1', 6: '2001:db8:1::1' },
  gateways: [
    { 4: '198.51.100.150', 6: '2001:db8:1::150' },
    { 4: '198.51.100.151', 6: '2001:db8:1::151' },
  ],
  prefix: EXTERNAL.prefix,
} as const;

/** BGP between gateways and load balancers: Meridio's numbers. */
export const BGP = { gatewayAsn: 4_248_829_953, loadBalancerAsn: 8103, port: 10_179 } as const;

export interface Conduit {
  /** Interface of the load balancer; a bridge joins it with the targets behind it. */
  readonly name: string;
  readonly mtu: number;
  readonly loadBalancer: Pair;
}

export const CONDUITS: readonly Conduit[] = [
  { name: 'conduit-a--d7c4', mtu: 1400, loadBalancer: { 4: '172.16.0.4', 6: 'fd00::4' } },
  { name: 'conduit-a--f75b', mtu: 1500, loadBalancer: { 4: '172.16.1.4', 6: 'fd00:0:0:1::4' } },
];
/** Addresses of a load balancer; the second one stands beside that of the reference. */
export interface LabLoadBalancer {
  readonly external: Pair;
  /** In the order of CONDUITS. */
  readonly conduits: readonly Pair[];
}

export const LOAD_BALANCERS: readonly LabLoadBalancer[] = [
  { external: EXTERNAL.loadBalancer, conduits: CONDUITS.map(({ loadBalancer }) => loadBalancer) },
  {
    external: { 4: '169.254.100.148', 6: '100:100::148' },
    conduits: [
      { 4: '172.16.0.5', 6: 'fd00::5' },
      { 4: '172.16.1.5', 6: 'fd00:0:0:1::5' },
    ],
  },
];

export const CONDUIT_PREFIX: Pair = { 4: '24', 6: '64' };

export interface LabTarget {
  readonly identifier: number;
  /** Index in CONDUITS. */
  readonly conduit: number;
  readonly ips: Pair;
}

/** In the order of the configuration file. */
export const TARGETS: readonly LabTarget[] = [
  { identifier: 69, conduit: 0, ips: { 4: '172.16.0.6', 6: 'fd00::6' } },
  { identifier: 62, conduit: 0, ips: { 4: '172.16.0.8', 6: 'fd00::8' } },
  { identifier: 44, conduit: 1, ips: { 4: '172.16.1.6', 6: 'fd00:0:0:1::6' } },
  { identifier: 73, conduit: 1, ips: { 4: '172.16.1.8', 6: 'fd00:0:0:1::8' } },
];

/** As many addresses a family as make every queue work: the kernel spreads packets over queues by their addresses. */
export const CLIENTS = 64;

/** Address of client `index`, 0..CLIENTS-1; RFC 5737 and RFC 3849 reserve these ranges for documentation. */
export function clientAddress(family: Family, index: number): string {
  return family === 4 ? `192.0.2.${index + 1}` : `2001:db8::${(index + 1).toString(16)}`;
}

/** The first 25 slots that the reference document prints for these four targets. */
export const REFERENCE_LOOKUP: readonly number[] = [
  68, 68, 68, 72, 43, 61, 43, 61, 72, 61, 61, 72, 43, 68, 61, 61, 43, 43, 43, 61, 72, 68, 61, 43, 43,
];
