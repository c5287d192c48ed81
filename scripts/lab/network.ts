/** What a topology's namespaces are made of, as lines for `ip -batch`. Pure. */
import type { Family } from '../../host/types/config.js';
import {
  ACCESS,
  CLIENT_MTU,
  CLIENTS,
  CONDUIT_PREFIX,
  CONDUITS,
  clientAddress,
  EXTERNAL,
  FAMILIES,
  GATEWAYS,
  type LabTarget,
  LOAD_BALANCERS,
  type Pair,
  TARGETS,
} from './plan.js';

/** Names of namespaces, and who stands how often. */
export interface Network {
  /** One or two. */
  readonly gateways: readonly string[];
  /** One or two. */
  readonly loadBalancers: readonly string[];
  /** Where the clients are: the gateway itself, or, behind two of them, a namespace of its own. */
  readonly clients: string;
  readonly switch: string;
  readonly target: (identifier: number) => string;
  /** Prefixes that the targets own. */
  readonly vips: readonly string[];
  /** Whether static routes lead from the gateways to the VIPs, over the first load balancer; else BIRD does it. */
  readonly staticRoutes: boolean;
}

/** Two of a kind meet on bridges. */
export function isShared({ gateways, loadBalancers }: Network): boolean {
  return gateways.length + loadBalancers.length > 2;
}

export function hasAccess({ gateways, clients }: Network): boolean {
  return !gateways.includes(clients);
}

/** Links are made in place: both ends are born in their namespaces. */
export function links(network: Network): string[] {
  const { gateways, loadBalancers } = network;
  const pair = (one: string, oneName: string, other: string, otherName: string, mtu = 1500): string =>
    `link add ${oneName} mtu ${mtu} netns ${one} type veth peer name ${otherName} mtu ${mtu} netns ${other}`;
  const external = isShared(network)
    ? [...gateways, ...loadBalancers].map((name, index) =>
        pair(name, EXTERNAL.name, network.switch, `external${index}`),
      )
    : [pair(loadBalancers[0]!, EXTERNAL.name, gateways[0]!, EXTERNAL.name)];
  const access = accessMembers(network).map((name, index) =>
    pair(name, ACCESS.name, network.switch, `access${index}`),
  );
  const conduits = loadBalancers.flatMap((loadBalancer, which) =>
    CONDUITS.map(({ name, mtu }, index) =>
      pair(loadBalancer, name, network.switch, loadBalancerPort(which, index), mtu),
    ),
  );
  const targets = TARGETS.map(({ identifier, conduit }) =>
    pair(
      network.target(identifier),
      'conduit',
      network.switch,
      targetPort(identifier),
      CONDUITS[conduit]!.mtu,
    ),
  );
  return [...external, ...access, ...conduits, ...targets];
}

/** Interface in the switch towards a target. */
export const targetPort = (identifier: number): string => `t${identifier}`;

/** Interface in the switch towards a load balancer, of a conduit. */
export const loadBalancerPort = (which: number, conduit: number): string =>
  which === 0 ? `lb${conduit}` : `lb${conduit}-${which}`;

const accessMembers = (network: Network): string[] =>
  hasAccess(network) ? [network.clients, ...network.gateways] : [];

export function switchCommands(network: Network): string[] {
  const bridge = (name: string, mtu: number, ports: readonly string[]): string[] => [
    `link add ${name} mtu ${mtu} type bridge`,
    ...ports.map(port => `link set ${port} master ${name} up`),
    `link set ${name} up`,
  ];
  const { gateways, loadBalancers } = network;
  const numbered = (word: string, count: number) => Array.from({ length: count }, (_, n) => `${word}${n}`);
  return [
    ...CONDUITS.flatMap(({ mtu }, index) => {
      const targets = TARGETS.filter(each => each.conduit === index).map(each => targetPort(each.identifier));
      return bridge(`br${index}`, mtu, [
        ...loadBalancers.map((_, which) => loadBalancerPort(which, index)),
        ...targets,
      ]);
    }),
    ...(isShared(network)
      ? bridge('br-external', 1500, numbered('external', gateways.length + loadBalancers.length))
      : []),
    ...(hasAccess(network) ? bridge('br-access', 1500, numbered('access', 1 + gateways.length)) : []),
  ];
}

/** Addresses of every client, one each. */
const clientAddresses = (family: Family): string[] =>
  Array.from({ length: CLIENTS }, (_, index) => clientAddress(family, index));

export function gatewayCommands(network: Network, which: number): string[] {
  const { name, prefix } = EXTERNAL;
  const clients = hasAccess(network)
    ? [
        ...FAMILIES.map(family =>
          address(`${ACCESS.gateways[which]![family]}/${ACCESS.prefix[family]}`, ACCESS.name),
        ),
        `link set ${ACCESS.name} up`,
        ...FAMILIES.flatMap(family =>
          clientAddresses(family).map(
            client => `route add ${host(client)} via ${ACCESS.clients[family]} dev ${ACCESS.name}`,
          ),
        ),
      ]
    : onLoopback();
  return [
    ...FAMILIES.map(family => address(`${GATEWAYS[which]![family]}/${prefix[family]}`, name)),
    `link set ${name} up`,
    ...clients,
    // The MTU of the route alone: datagrams leave in fragments, and the link itself is an ordinary one.
    ...(network.staticRoutes
      ? network.vips.map(
          vip =>
            `route add ${vip} via ${LOAD_BALANCERS[0]!.external[familyOf(vip)]} dev ${name} mtu ${CLIENT_MTU}`,
        )
      : []),
  ];
}

const onLoopback = (): string[] =>
  FAMILIES.flatMap(family => clientAddresses(family).map(client => address(host(client), 'lo')));

/** Clients behind two gateways, over which they send in equal shares. */
export function clientCommands(network: Network): string[] {
  return [
    ...onLoopback(),
    ...FAMILIES.map(family => address(`${ACCESS.clients[family]}/${ACCESS.prefix[family]}`, ACCESS.name)),
    `link set ${ACCESS.name} up`,
    ...network.vips.map(vip => {
      const ways = network.gateways.map(
        (_, which) => `nexthop via ${ACCESS.gateways[which]![familyOf(vip)]} dev ${ACCESS.name}`,
      );
      return `route add ${vip} ${ways.join(' ')}`;
    }),
  ];
}

export function loadBalancerCommands(which: number): string[] {
  const { name, prefix } = EXTERNAL;
  const external = FAMILIES.map(family =>
    address(`${LOAD_BALANCERS[which]!.external[family]}/${prefix[family]}`, name),
  );
  const conduits = CONDUITS.flatMap((conduit, index) => [
    ...FAMILIES.map(family =>
      address(`${LOAD_BALANCERS[which]!.conduits[index]![family]}/${CONDUIT_PREFIX[family]}`, conduit.name),
    ),
    `link set ${conduit.name} up`,
  ]);
  // As a pod has one; the kernel makes its errors about packets to a VIP only where main leads somewhere.
  const defaults = FAMILIES.map(family => `route add ${ALL[family]} via ${GATEWAYS[0]![family]} dev ${name}`);
  return [...external, ...conduits, `link set ${name} up`, ...defaults];
}

/** A target's answers may go by any load balancer: all of them lead to the gateways. */
export function targetCommands(network: Network, { conduit, ips }: LabTarget): string[] {
  const ways = (family: Family): string => {
    const via = network.loadBalancers.map(
      (_, which) => `via ${LOAD_BALANCERS[which]!.conduits[conduit]![family]} dev conduit`,
    );
    return via.length === 1 ? via[0]! : via.map(way => `nexthop ${way}`).join(' ');
  };
  return [
    ...FAMILIES.map(family => address(`${ips[family]}/${CONDUIT_PREFIX[family]}`, 'conduit')),
    'link set conduit up',
    ...network.vips.map(vip =>
      vip === host(vip.split('/')[0]!) ? address(vip, 'lo') : `route add local ${vip} dev lo`,
    ),
    ...FAMILIES.map(family => `route add ${ALL[family]} ${ways(family)}`),
  ];
}

/** A batch cannot say `-6 route add default`. */
const ALL: Pair = { 4: '0.0.0.0/0', 6: '::/0' };

const familyOf = (text: string): Family => (text.includes(':') ? 6 : 4);

const host = (text: string): string => `${text}/${familyOf(text) === 4 ? 32 : 128}`;

/** IPv6 without duplicate address detection: an address is usable at once. */
const address = (text: string, device: string): string =>
  `address add ${text} dev ${device}${familyOf(text) === 6 ? ' nodad' : ''}`;
