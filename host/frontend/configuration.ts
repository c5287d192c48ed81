/**
 * BIRD's configuration file as text (BIRD 2.0 User's Guide), a function of what is wanted.
 *
 * Each session has a table of what its gateway sends and of what is announced to it. `gateways4` holds default routes alone
 * and goes to the kernel, so that no VIP ever does, whatever its length. A default route that came by BGP is resolved
 * by a table of its gateway's own, which holds one static route: via the gateway, as long as its link, and BFD if it is
 * wanted, are up. BIRD lets a session whose BFD is down come back as soon as TCP passes; its routes must not, and neither
 * must the VIPs be announced by it: their answers would have no way out.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Bfd, BgpGateway, Family, Gateway, Host, Prefix } from '../types/config.js';
import { ConfigError } from '../types/errors.js';
import { EGRESS_TABLE } from '../types/marks.js';
import { isLinkLocal6 } from './next-hop.js';
import { BFD_PROTOCOL } from './revival.js';
import { DEFAULT_ROUTE, FAMILIES, protocolName, type WantedFrontend } from './wanted.js';

/** As in the reference: `proto bird metric 32`. */
const METRIC = 32;
/** The first gateway's; BIRD takes 0 to 65535. */
const HIGHEST_PREFERENCE = 60_000;
/** BIRD announces the best route of a prefix: of all addresses, that is the VIP and not what a gateway sent. */
const VIP_PREFERENCE = 65_535;
/** More gateways than these share nothing; BIRD's own default is 16. */
const ECMP_LIMIT = 64;

/**
 * @param passwords by the gateway's name
 * @throws ConfigError naming the gateways for which BIRD has no words
 */
export function renderConfiguration(wanted: WantedFrontend, passwords: ReadonlyMap<string, string>): string {
  const shared = interfaceBfd(wanted.gateways);
  const sections = [
    ['log stderr all;', `router id ${wanted.routerId};`, 'timeformat protocol iso long ms;'],
    ['protocol device {}'],
    ...FAMILIES.map(family => kernelLines(family, wanted.ecmp)),
    ...(shared === null ? [] : [bfdLines(wanted.external, shared)]),
    ...wanted.gateways.flatMap((gateway, index) =>
      gateway.ips.map(host => {
        const place = { wanted, host, preference: preferenceOf(wanted, index) };
        return gateway.protocol === 'static'
          ? staticLines(gateway, place)
          : bgpLines(gateway, place, passwords.get(gateway.name) ?? null, shared);
      }),
    ),
  ];
  return sections.map(lines => `${lines.join('\n')}\n`).join('\n');
}

/** One address of a gateway. */
interface Place {
  readonly wanted: WantedFrontend;
  readonly host: Host;
  readonly preference: number;
}

/**
 * Without ECMP the earlier gateway wins. With it all are equal, except that BIRD does not merge routes of static and BGP
 * gateways: those of the first gateway's kind win, the others stand by.
 */
function preferenceOf({ ecmp, gateways }: WantedFrontend, index: number): number {
  if (!ecmp) return HIGHEST_PREFERENCE - index;
  return gateways[index]!.protocol === gateways[0]!.protocol ? HIGHEST_PREFERENCE : HIGHEST_PREFERENCE - 1;
}

function kernelLines(family: Family, ecmp: boolean): string[] {
  return [
    `ipv${family} table gateways${family};`,
    `protocol kernel 'kernel-ipv${family}' {`,
    `  kernel table ${EGRESS_TABLE};`,
    `  metric ${METRIC};`,
    '  scan time 1;',
    ...(ecmp ? [`  merge paths on limit ${ECMP_LIMIT};`] : []),
    `  ipv${family} { table gateways${family}; import none; export where dest = RTD_UNICAST; };`,
    '}',
  ];
}

/**
 * What is announced to one address of a gateway: by recursion, so that it goes as soon as that is no way out for answers.
 * It stands also without routes: a protocol that comes or goes is more than a route that does.
 */
function vipLines({ family, address }: Host, announced: readonly Prefix[], resolved: boolean): string[] {
  const own = announced.filter(prefix => prefix.family === family);
  const way = resolved ? `recursive ${address}` : 'blackhole';
  return [
    `protocol static '${vipsName(address)}' {`,
    `  ipv${family} { table '${sessionTable(address)}'; preference ${VIP_PREFERENCE}; };`,
    ...(resolved ? [`  igp table '${reachTable(address)}';`] : []),
    ...new Set(own.map(({ address, length }) => `  route ${address}/${length} ${way};`)),
    '}',
  ];
}

/** Of what this gateway sent and what is announced to it. */
const sessionTable = (address: string): string => `session-${address}`;
const vipsName = (address: string): string => `vips-${address}`;
/** Of the one route by which what a gateway sent is resolved. */
const reachTable = (address: string): string => `via-${address}`;

/**
 * What BIRD uses for sessions that static routes ask for: it has one setting for an interface.
 * @returns null: no BFD at all
 * @throws ConfigError if static gateways ask for different ones
 */
function interfaceBfd(gateways: readonly Gateway[]): Bfd | null {
  const asking = gateways.filter(({ bfd }) => bfd !== null);
  const [first, ...others] = asking.filter(({ protocol }) => protocol === 'static');
  const different = others.filter(({ bfd }) => !isDeepStrictEqual(bfd, first!.bfd));
  if (different.length > 0) {
    throw new ConfigError(
      different.map(
        ({ name }) =>
          `gateway ${name}: static gateways share one setting of BFD, and gateway ${first!.name} has another`,
      ),
    );
  }
  return (first ?? asking[0])?.bfd ?? null;
}

function bfdLines(external: string | null, bfd: Bfd): string[] {
  return [
    `protocol bfd '${BFD_PROTOCOL}' {`,
    '  debug { states, events };',
    `  interface "${external ?? '*'}" { ${bfdOptions(bfd)} };`,
    '}',
  ];
}

function bfdOptions({ minRxMs, minTxMs, multiplier }: Bfd): string {
  return `min rx interval ${minRxMs} ms; min tx interval ${minTxMs} ms; multiplier ${multiplier};`;
}

function staticLines(gateway: Gateway, { wanted, host, preference }: Place): string[] {
  return [
    `protocol static '${protocolName(host.address)}' {`,
    '  check link yes;',
    `  ipv${host.family} { table gateways${host.family}; preference ${preference}; };`,
    ...(wanted.unreachable.has(host.address)
      ? []
      : [`  ${routeVia(gateway, host, wanted.external, gateway.bfd !== null)}`]),
    '}',
  ];
}

function bgpLines(
  gateway: BgpGateway,
  { wanted, host, preference }: Place,
  password: string | null,
  shared: Bfd | null,
): string[] {
  const { family, address } = host;
  const { bfd } = gateway;
  // A static route's request would give the session the interface's setting, not this gateway's.
  const guarded = bfd !== null && isDeepStrictEqual(bfd, shared);
  // BIRD resolves no next hop that is link-local.
  const resolved = !isLinkLocal6(address);
  const table = reachTable(address);
  const reach = [
    `ipv${family} table '${table}';`,
    `protocol static 'reach-${address}' {`,
    '  check link yes;',
    `  ipv${family} { table '${table}'; };`,
    `  ${routeVia(gateway, host, wanted.external, guarded)}`,
    '}',
  ];
  return [
    ...(resolved ? reach : []),
    `ipv${family} table '${sessionTable(address)}';`,
    ...vipLines(host, resolved || wanted.nextHop6 !== null ? wanted.announced : [], resolved),
    `protocol pipe 'defaults-${address}' {`,
    `  table '${sessionTable(address)}';`,
    `  peer table gateways${family};`,
    '  import none;',
    // BIRD prefers a route that leads nowhere, if its preference is higher.
    `  export where source = RTS_BGP && net = ${DEFAULT_ROUTE[family]} && dest = RTD_UNICAST;`,
    '}',
    `protocol bgp '${protocolName(address)}' {`,
    '  debug { states };',
    `  local port ${gateway.localPort} as ${gateway.localAsn};`,
    `  neighbor ${scoped(gateway, host, wanted.external)} port ${gateway.remotePort} as ${gateway.remoteAsn};`,
    '  direct;',
    '  check link yes;',
    ...(password === null ? [] : [`  password "${password}";`]),
    ...(bfd === null ? [] : [`  bfd { ${bfdOptions(bfd)} };`]),
    '  graceful restart off;',
    `  hold time ${gateway.holdTimeSeconds};`,
    '  connect delay time 1;',
    '  connect retry time 2;',
    '  error wait time 1, 5;',
    `  ipv${family} {`,
    `    table '${sessionTable(address)}';`,
    `    preference ${preference};`,
    ...(resolved ? ['    gateway recursive;', `    igp table '${table}';`] : ['    gateway direct;']),
    // Equal attributes: which of the gateways is used, is decided here.
    '    import filter {',
    `      if net != ${DEFAULT_ROUTE[family]} then reject;`,
    '      bgp_path.empty;',
    '      bgp_origin = ORIGIN_IGP;',
    '      bgp_med = 0;',
    '      bgp_local_pref = 100;',
    '      accept;',
    '    };',
    `    export where proto = "${vipsName(address)}" && dest != RTD_UNREACHABLE;`,
    // Over link-local addresses `self` sends the next hop `::`, and the link-local one beside it (RFC 2545, section 3).
    resolved || wanted.nextHop6 === null ? '    next hop self;' : `    next hop address ${wanted.nextHop6};`,
    '  };',
    '}',
  ];
}

function routeVia(gateway: Gateway, host: Host, external: string | null, bfd: boolean): string {
  return `route ${DEFAULT_ROUTE[host.family]} via ${scoped(gateway, host, external)}${bfd ? ' bfd' : ''};`;
}

/** Characters of a name in single quotes (conf/cf-lex.l). */
const QUOTABLE = /^[A-Za-z0-9_.:-]+$/;

/** The address with its interface, where that is known. @throws ConfigError if it is needed and cannot be said */
function scoped(gateway: Gateway, { address }: Host, external: string | null): string {
  if (external !== null && QUOTABLE.test(external)) return `${address}%'${external}'`;
  if (!isLinkLocal6(address)) return address;
  throw new ConfigError([
    external === null
      ? `gateway ${gateway.name}: ${address} is link-local: it needs interfaces.external`
      : `gateway ${gateway.name}: ${address} is link-local, and BIRD has no words for an interface named ${external}`,
  ]);
}
