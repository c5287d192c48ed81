/** From what was written to what is meant: defaults that depend on others, and every check that crosses parts. */

import { ADDRESS_BITS } from '../types/address.js';
import type {
  Bfd,
  ByteMatch,
  Config,
  Family,
  Flow,
  Gateway,
  HealthCheck,
  Host,
  PortNat,
  PortRange,
  Prefix,
  Stream,
} from '../types/config.js';
import { ConfigError, MOST_FAULTS } from '../types/errors.js';
import { BLACKHOLE_TABLE, EGRESS_TABLE, KERNEL_TABLES } from '../types/marks.js';
import { coveredBy, coversIpv4, heldByAny, parseHost, parsePrefix, prefixText } from './address.js';
import { parseByteMatch } from './byte-match.js';
import { parseDuration } from './duration.js';
import { parseListenAddress } from './listen.js';
import { checkMarkMask } from './mark-mask.js';
import { checkPortNats } from './port-nat.js';
import { parsePortRange, parseQueues } from './range.js';
import type { Written } from './schema.js';

const FIRST_OFFSET = 5000;
/** Table sizes default to this multiple of the capacity, as Meridio asks. */
const SLOTS_PER_TARGET = 100;
const FAMILIES = [4, 6] as const;

/** The result of a parser that has already accepted the text. */
function accepted<Value>(parsed: Value | string): Value {
  if (typeof parsed === 'string') throw new ConfigError([parsed]);
  return parsed;
}

/** @throws ConfigError with one line per fault */
export function resolve(written: Written): Config {
  const faults: string[] = [];
  checkNames(written, faults);
  const vips = written.vips.map(text => accepted(parsePrefix(text)));
  const flows = written.flows.map(flow => resolveFlow(flow));
  const offsets = assignOffsets(written.streams, written.queueMark, faults);
  const streams = written.streams.map((stream, index) => resolveStream(stream, offsets[index]!));
  const served = vipsByStream(flows);
  const ipv4IsSteered = vips.some(vip => vip.family === 4);
  streams.forEach((stream, index) => {
    const families = familiesOf(served.get(stream.name) ?? [], ipv4IsSteered);
    checkTargets(stream, families, `streams[${index}]`, faults);
  });
  checkFlows(written, faults);
  checkHealthChecks(written, faults);
  checkGateways(written, faults);
  const portNats = written.portNats.map(resolvePortNat);
  faults.push(...checkPortNats(portNats, vips));
  faults.push(...checkMarkMask(written, streams));
  for (const key of ['noFlowFwmark', 'noTargetsFwmark'] as const) {
    if (written[key] === written.queueMark)
      faults.push(`${key}: ${written[key]} is queueMark, which leads packets into the queue`);
  }
  if (faults.length > 0) throw new ConfigError(faults);
  return {
    queues:
      typeof written.queues === 'number'
        ? { first: written.queues, last: written.queues }
        : accepted(parseQueues(written.queues)),
    queueLength: written.queueLength,
    queueMark: written.queueMark,
    markMask: written.markMask,
    queueSpinMicroseconds: written.queueSpinMicroseconds,
    interfaces: { external: written.interfaces.external ?? null, internal: written.interfaces.internal },
    vips,
    gateways: written.gateways.map(resolveGateway),
    ecmp: written.ecmp,
    routerId: written.routerId ?? null,
    portNats,
    streams,
    flows,
    hashMode: written.hashMode,
    fragments: written.fragments,
    fragmentTimeoutMs: milliseconds(written.fragmentTimeout),
    promiscuousPing: written.promiscuousPing,
    noFlowFwmark: written.noFlowFwmark ?? null,
    noTargetsFwmark: written.noTargetsFwmark ?? null,
    shutdownDelayMs: milliseconds(written.shutdownDelay),
    rulesetFile: written.rulesetFile ?? null,
    metrics: written.metrics === undefined ? null : accepted(parseListenAddress(written.metrics.address)),
  };
}

function milliseconds(text: string): number {
  return accepted(parseDuration(text));
}

function resolveBfd(bfd: Written['gateways'][number]['bfd']): Bfd | null {
  if (bfd === undefined) return null;
  const { minRx, minTx, multiplier } = bfd;
  return { minRxMs: milliseconds(minRx), minTxMs: milliseconds(minTx), multiplier };
}

function resolveGateway(gateway: Written['gateways'][number]): Gateway {
  const base = {
    name: gateway.name,
    ips: gateway.ips.map((text): Host => accepted(parseHost(text))),
    bfd: resolveBfd(gateway.bfd),
  };
  if (gateway.protocol === 'static') return { ...base, protocol: 'static' };
  const { localAsn, remoteAsn, localPort, remotePort, holdTime, passwordFile = null } = gateway;
  const holdTimeSeconds = milliseconds(holdTime) / 1000;
  return {
    ...base,
    protocol: 'bgp',
    localAsn,
    remoteAsn,
    localPort,
    remotePort,
    holdTimeSeconds,
    passwordFile,
  };
}

function resolvePortNat(nat: Written['portNats'][number]): PortNat {
  return { ...nat, vips: nat.vips.map((text): Prefix => accepted(parsePrefix(text))) };
}

function resolveHealthCheck(check: Written['streams'][number]['healthCheck']): HealthCheck | null {
  if (check === undefined) return null;
  const { type, port = null, path, interval, timeout, rise, fall } = check;
  return {
    type,
    port,
    path: type === 'http' ? (path ?? '/') : null,
    intervalMs: milliseconds(interval),
    timeoutMs: milliseconds(timeout),
    rise,
    fall,
  };
}

function resolveFlow(flow: Written['flows'][number]): Flow {
  const range = (text: string | number): PortRange => accepted(parsePortRange(String(text)));
  return {
    ...flow,
    vips: flow.vips.map((text): Prefix => accepted(parsePrefix(text))),
    sourceSubnets: flow.sourceSubnets.map((text): Prefix => accepted(parsePrefix(text))),
    destinationPortRanges: flow.destinationPortRanges.map(range),
    sourcePortRanges: flow.sourcePortRanges.map(range),
    byteMatches: flow.byteMatches.map((text): ByteMatch => accepted(parseByteMatch(text))),
    udpEncapPort: flow.udpEncapPort ?? null,
  };
}

function resolveStream(stream: Written['streams'][number], fwmarkOffset: number): Stream {
  return {
    name: stream.name,
    maxTargets: stream.maxTargets,
    tableSize: stream.tableSize ?? stream.maxTargets * SLOTS_PER_TARGET,
    fwmarkOffset,
    targets: stream.targets.map(target => ({
      identifier: target.identifier,
      fwmark: fwmarkOffset + target.identifier,
      ips: target.ips.map((text): Host => accepted(parseHost(text))),
    })),
    healthCheck: resolveHealthCheck(stream.healthCheck),
  };
}

interface MarkRange {
  readonly first: number;
  readonly last: number;
  readonly owner: string;
}

const SPOKEN_FOR: readonly MarkRange[] = [
  { ...KERNEL_TABLES, owner: "the kernel's own routing tables" },
  { first: EGRESS_TABLE, last: BLACKHOLE_TABLE, owner: 'the egress tables' },
];

/** One offset a stream: as written, else the lowest from 5000 on whose whole range is free. Depends on the file alone. */
function assignOffsets(streams: Written['streams'], queueMark: number, faults: string[]): number[] {
  const queueing = { first: queueMark, last: queueMark, owner: 'queueMark' };
  // Ascending by `first`, so that one pass finds the lowest gap.
  const taken = [...SPOKEN_FOR, queueing].toSorted((one, other) => one.first - other.first);
  const take = (wanted: MarkRange) => taken.splice(placeAfter(taken, wanted.first), 0, wanted);
  const range = (offset: number, stream: Written['streams'][number]): MarkRange => ({
    first: offset + 1,
    last: offset + stream.maxTargets,
    owner: `stream ${stream.name}`,
  });
  const clash = (wanted: MarkRange) =>
    taken.find(other => wanted.first <= other.last && other.first <= wanted.last);

  streams.forEach((stream, index) => {
    if (stream.fwmarkOffset === undefined) return;
    const wanted = range(stream.fwmarkOffset, stream);
    const other = clash(wanted);
    const path = `streams[${index}].fwmarkOffset`;
    if (wanted.last > 0xffffffff) faults.push(`${path}: marks up to ${wanted.last} do not fit 32 bits`);
    if (other !== undefined) {
      faults.push(
        `${path}: marks ${wanted.first}-${wanted.last} meet ${other.first}-${other.last} of ${other.owner}`,
      );
    }
    take(wanted);
  });
  // Ranges are only added: a gap that was too small for a size remains so.
  const lowest = new Map<number, number>();
  return streams.map(stream => {
    if (stream.fwmarkOffset !== undefined) return stream.fwmarkOffset;
    let offset = lowest.get(stream.maxTargets) ?? FIRST_OFFSET;
    // Before a place that was free once, only its neighbour can reach into it.
    for (
      let at = lowest.has(stream.maxTargets) ? placeAfter(taken, offset) - 1 : 0;
      at < taken.length;
      at++
    ) {
      const { first, last } = taken[Math.max(0, at)]!;
      if (first > offset + stream.maxTargets) break;
      if (offset < last) offset = last;
    }
    lowest.set(stream.maxTargets, offset);
    take(range(offset, stream));
    return offset;
  });
}

/** Of ranges that ascend by `first`, the place of the first one above `mark`. */
function placeAfter(ranges: readonly MarkRange[], mark: number): number {
  let least = 0;
  for (let most = ranges.length; least < most; ) {
    const middle = (least + most) >> 1;
    if (ranges[middle]!.first > mark) most = middle;
    else least = middle + 1;
  }
  return least;
}

function checkNames(written: Written, faults: string[]): void {
  for (const key of ['streams', 'flows', 'gateways'] as const) {
    const seen = new Map<string, number>();
    written[key].forEach(({ name }, index) => {
      const before = seen.get(name);
      if (before !== undefined)
        faults.push(`${key}[${index}].name: ${name} is the name of ${key}[${before}] already`);
      else seen.set(name, index);
    });
  }
}

function vipsByStream(flows: readonly Flow[]): ReadonlyMap<string, readonly Prefix[]> {
  const served = new Map<string, Prefix[]>();
  for (const { stream, vips } of flows) {
    const own = served.get(stream);
    if (own === undefined) served.set(stream, [...vips]);
    else for (const vip of vips) own.push(vip);
  }
  return served;
}

/** Families of the packets that a stream's targets get. @param own VIPs of its flows */
function familiesOf(own: readonly Prefix[], ipv4IsSteered: boolean): Family[] {
  return FAMILIES.filter(family =>
    // ::/0 of a flow takes IPv4 too, if there is any.
    own.some(vip => vip.family === family || (family === 4 && ipv4IsSteered && coversIpv4(vip))),
  );
}

function checkTargets(stream: Stream, families: readonly Family[], path: string, faults: string[]): void {
  const identifiers = new Map<number, number>();
  const addresses = new Map<string, string>();
  stream.targets.forEach((target, index) => {
    const at = `${path}.targets[${index}]`;
    if (target.identifier > stream.maxTargets) {
      faults.push(`${at}.identifier: ${target.identifier} is above maxTargets ${stream.maxTargets}`);
    }
    const before = identifiers.get(target.identifier);
    if (before !== undefined)
      faults.push(`${at}.identifier: ${target.identifier} is that of targets[${before}] already`);
    else identifiers.set(target.identifier, index);
    for (const family of FAMILIES) {
      const count = target.ips.filter(ip => ip.family === family).length;
      if (count > 1) faults.push(`${at}.ips: ${count} IPv${family} addresses, one is possible`);
      if (count === 0 && families.includes(family))
        faults.push(`${at}.ips: no IPv${family} address, but the stream has IPv${family} VIPs`);
    }
    target.ips.forEach((ip, position) => {
      const owner = addresses.get(ip.address);
      if (owner !== undefined)
        faults.push(`${at}.ips[${position}]: ${ip.address} is that of ${owner} already`);
      else addresses.set(ip.address, `targets[${index}]`);
    });
  });
}

function checkFlows(written: Written, faults: string[]): void {
  const streams = new Set(written.streams.map(stream => stream.name));
  written.flows.forEach((flow, index) => {
    const at = `flows[${index}]`;
    if (!streams.has(flow.stream)) faults.push(`${at}.stream: there is no stream ${flow.stream}`);
    for (const key of ['destinationPortRanges', 'sourcePortRanges'] as const) {
      if (flow[key].length > 0 && flow.protocols.length === 0)
        faults.push(`${at}.${key}: ports need protocols`);
    }
    if (flow.udpEncapPort !== undefined && (flow.protocols.length !== 1 || flow.protocols[0] !== 'sctp')) {
      faults.push(`${at}.udpEncapPort: only with protocols [sctp]`);
    }
  });
}

function checkHealthChecks(written: Written, faults: string[]): void {
  written.streams.forEach(({ healthCheck }, index) => {
    if (healthCheck === undefined) return;
    const at = `streams[${index}].healthCheck`;
    const { type, port, path, interval, timeout } = healthCheck;
    if (type === 'icmp' && port !== undefined) faults.push(`${at}.port: icmp has no ports`);
    if (type !== 'icmp' && port === undefined) faults.push(`${at}.port: required for ${type}, but missing`);
    if (type !== 'http' && path !== undefined) faults.push(`${at}.path: only with type http`);
    if (milliseconds(timeout) > milliseconds(interval))
      faults.push(`${at}.timeout: ${timeout} is above interval ${interval}`);
  });
}

function checkGateways(written: Written, faults: string[]): void {
  const owners = new Map<string, string>();
  written.gateways.forEach((gateway, index) => {
    const at = `gateways[${index}]`;
    gateway.ips.forEach((text, position) => {
      const { address } = accepted(parseHost(text));
      const owner = owners.get(address);
      if (owner !== undefined) faults.push(`${at}.ips[${position}]: ${address} is that of ${owner} already`);
      else owners.set(address, `gateways[${index}]`);
    });
    if (gateway.protocol === 'bgp' && milliseconds(gateway.holdTime) % 1000 !== 0)
      faults.push(`${at}.holdTime: ${gateway.holdTime} is no whole number of seconds`);
    gateway.ips.forEach((text, position) => {
      if (/^fe[89ab]/i.test(text) && written.interfaces.external === undefined)
        faults.push(`${at}.ips[${position}]: ${text} is link-local: needs interfaces.external`);
    });
    // BIRD has one setting of BFD for an interface; only sessions of BGP may have their own.
    const first = written.gateways.findIndex(
      ({ protocol, bfd }) => protocol === 'static' && bfd !== undefined,
    );
    const shared = JSON.stringify(resolveBfd(written.gateways[first]?.bfd));
    if (
      gateway.protocol === 'static' &&
      gateway.bfd !== undefined &&
      JSON.stringify(resolveBfd(gateway.bfd)) !== shared
    )
      faults.push(`${at}.bfd: static gateways share one setting, and gateways[${first}] has another`);
    if (gateway.bfd !== undefined && written.interfaces.external === undefined)
      faults.push(`${at}.bfd: needs interfaces.external, the interface that BFD runs on`);
  });
}

/** What is legal and probably not meant; one line each. */
export function configWarnings(config: Config): string[] {
  const warnings: string[] = [];
  const isSteered = heldByAny(config.vips);
  config.flows.forEach((flow, index) => {
    for (const vip of flow.vips) {
      if (!isSteered(vip))
        warnings.push(
          `flows[${index}].vips: ${prefixText(vip)} is not within vips: not all of it is steered here. Add it to vips, or remove it from the flow`,
        );
    }
  });
  config.streams.forEach((stream, index) => {
    if (stream.tableSize < stream.maxTargets) {
      warnings.push(
        `streams[${index}].tableSize: ${stream.tableSize} is below maxTargets ${stream.maxTargets}: some targets get nothing. Raise tableSize, or lower maxTargets`,
      );
    }
  });
  const hosts = [
    ...config.gateways.flatMap(gateway => gateway.ips.map(ip => ({ ip, owner: `gateway ${gateway.name}` }))),
    ...config.streams.flatMap(stream =>
      stream.targets.flatMap(target =>
        target.ips.map(ip => ({ ip, owner: `target ${stream.name}/${target.identifier}` })),
      ),
    ),
  ];
  return [...warnings, ...coveredHosts(config, hosts)];
}

/** Addresses that a VIP covers, so that traffic to them would be load-balanced; one line each. */
export function coveredHosts(config: Config, hosts: readonly { ip: Host; owner: string }[]): string[] {
  const isSteered = heldByAny(config.vips);
  // Few or none, as a rule: not every host is asked of every VIP.
  const covered = hosts.filter(({ ip }) => isSteered({ ...ip, length: ADDRESS_BITS[ip.family] }));
  const asked = covered.slice(0, MOST_FAULTS);
  const lines: string[] = [];
  for (const [index, vip] of config.vips.entries()) {
    const isCovered = coveredBy(vip);
    for (const { ip, owner } of asked)
      if (isCovered(ip)) lines.push(`vips[${index}]: ${prefixText(vip)} covers ${ip.address} of ${owner}`);
    // A VIP may be written a million times.
    if (lines.length > MOST_FAULTS) break;
  }
  if (asked.length < covered.length)
    lines.push(
      `vips: they cover ${covered.length - asked.length} more addresses of gateways, targets or this host`,
    );
  return lines;
}
