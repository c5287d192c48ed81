/**
 * The configuration file as its author writes it: keys, shapes, defaults. The validator and the JSON Schema
 * (`magmark schema`) both come from this one value.
 */
import { z } from 'zod';
import { QUEUE_MARK, WHOLE_MARK } from '../types/marks.js';
import { shown } from '../types/text.js';
import { parseGateway, parseNextHop, parsePrefix, parseRouterId } from './address.js';
import { parseByteMatch } from './byte-match.js';
import { durationWithin } from './duration.js';
import { jsonSchemaOf, listOf } from './list.js';
import { parseListenAddress } from './listen.js';
import { filePath, interfaceName, interfacePattern } from './names.js';
import { parsePortRange, parseQueues } from './range.js';

/** Far above the longest text that means anything; parsers need not ask. */
const MOST_CHARACTERS = 200;
/** What is compared with each other part of its kind is bounded: 16,384 streams take half a second. */
const MOST_STREAMS = 16_384;
const MOST_GATEWAYS = 1000;
const MOST_PORT_NATS = 4096;

/** A string that `parse` understands; its fault is the message. */
function textOf(parse: (text: string) => unknown) {
  return z.string().superRefine((text, context) => {
    const parsed =
      text.length > MOST_CHARACTERS
        ? `${shown(text)} has ${text.length} characters, more than ${MOST_CHARACTERS}`
        : parse(text);
    if (typeof parsed === 'string') context.addIssue({ code: 'custom', message: parsed });
  });
}

const MAX_MARK = 0xffffffff;
const name = z
  .string()
  .min(1)
  .max(200)
  .regex(/^[A-Za-z0-9_+.-]+$/, { error: 'a name has letters, digits, "-", "_", "+" and "." only' });
const nextHop = textOf(parseNextHop).describe('IPv4 or IPv6 address of a neighbour');
const gatewayAddress = textOf(parseGateway).describe('IPv4 or IPv6 address of a neighbour');
const prefix = textOf(parsePrefix).describe('IPv4 or IPv6 prefix, for example 20.0.0.1/32');
const portRange = z
  .union([textOf(parsePortRange), z.int().min(1).max(65535)], { error: 'a port range is "n" or "a-b"' })
  .describe('one port "n" or a range "a-b", 1 to 65535');
const mark = z.int().min(0).max(MAX_MARK).describe('firewall mark');
const duration = (least: string, most: string) =>
  textOf(durationWithin(least, most)).describe(`for example 300ms or 1s; ${least} to ${most}`);
const port = z.int().min(1).max(65535);
const protocol = z.enum(['tcp', 'udp', 'sctp']);

const target = z.strictObject({
  identifier: z.int().min(1).describe('1 to maxTargets; its index in the Maglev table is one less'),
  ips: listOf(nextHop, { least: 1, most: 2 }).describe('one address for each family of the VIPs'),
});

const healthCheck = z
  .strictObject({
    type: z.enum(['icmp', 'tcp', 'http']),
    port: port.optional().describe("the target's port; for tcp and http"),
    path: z
      .string()
      .max(1000)
      .regex(/^\/[\x21-\x7e]*$/, { error: 'a path begins with "/" and has no space' })
      .optional()
      .describe('what is asked for by GET and must be answered with 200 to 399; for http, default /'),
    interval: duration('100ms', '60m').default('1s'),
    timeout: duration('10ms', '60m').default('1s').describe('not above interval'),
    rise: z.int().min(1).max(1000).default(2).describe('answers in a row that make a target healthy'),
    fall: z.int().min(1).max(1000).default(3).describe('failures in a row that make it unhealthy'),
  })
  .describe('how targets are asked whether they serve, through their own routes; default: not asked');

const stream = z.strictObject({
  name,
  maxTargets: z.int().min(1).max(32767).default(100),
  tableSize: z
    .int()
    .min(1)
    .max(10_000_000)
    .optional()
    .describe('asked size of the Maglev table, the prime below is taken; default 100 x maxTargets'),
  fwmarkOffset: z
    .int()
    .min(0)
    .max(MAX_MARK)
    .optional()
    .describe('fwmark and table of a target: offset + identifier; default 5000, then the next free range'),
  targets: listOf(target).prefault([]),
  healthCheck: healthCheck.optional(),
});

const flow = z.strictObject({
  name,
  stream: name,
  // Numbers of YAML and JSON are exact up to there.
  priority: z
    .int({ error: 'a priority is an integer from -(2^53 - 1) to 2^53 - 1' })
    .describe('larger wins; -(2^53 - 1) to 2^53 - 1'),
  protocols: listOf(protocol).prefault([]).describe('default: any'),
  vips: listOf(prefix, { least: 1 }).describe('destination addresses'),
  sourceSubnets: listOf(prefix).prefault([]).describe('default: any'),
  destinationPortRanges: listOf(portRange).prefault([]).describe('default: any'),
  sourcePortRanges: listOf(portRange).prefault([]).describe('default: any'),
  byteMatches: listOf(textOf(parseByteMatch)).prefault([]).describe('for example tcp[13:1] & 0x02 = 0x02'),
  udpEncapPort: z
    .int()
    .min(1)
    .max(65535)
    .optional()
    .describe('UDP port that carries SCTP; only with protocols [sctp]'),
});

const asn = z.int().min(1).max(0xffffffff);

const bfd = z
  .strictObject({
    minRx: duration('10ms', '60s').default('300ms'),
    minTx: duration('10ms', '60s').default('300ms'),
    multiplier: z.int().min(1).max(255).default(3),
  })
  .describe('bidirectional forwarding detection: {} for the defaults; default: none');

const gatewayBase = {
  name,
  ips: listOf(gatewayAddress, { least: 1 }),
  bfd: bfd.optional(),
};

const gateway = z.discriminatedUnion(
  'protocol',
  [
    z.strictObject({ ...gatewayBase, protocol: z.literal('static') }),
    z.strictObject({
      ...gatewayBase,
      protocol: z.literal('bgp'),
      localAsn: asn,
      remoteAsn: asn,
      localPort: port.default(179),
      remotePort: port.default(179),
      holdTime: duration('3s', '65535s').default('90s').describe('whole seconds'),
      passwordFile: filePath
        .optional()
        .describe('file whose first line is the password of the session (TCP MD5)'),
    }),
  ],
  { error: 'protocol is "static" or "bgp"' },
);

const portNat = z.strictObject({
  port: port.describe('what clients see; flows match it'),
  targetPort: port.describe('what targets serve'),
  protocol,
  vips: listOf(prefix, { least: 1 }),
});

export const schema = z.strictObject({
  queues: z
    .union([textOf(parseQueues), z.int().min(0).max(65535)], {
      error: 'queues is one number or "first:last"',
    })
    .default('0:3')
    .describe('netfilter queues "first:last" or one number; one worker thread each'),
  queueLength: z
    .int()
    .min(1)
    .max(1_000_000)
    .default(1024)
    .describe('packets that wait in one queue before it drops'),
  queueSpinMicroseconds: z
    .int()
    .min(0)
    .max(1000)
    .default(0)
    .describe(
      'how long a worker looks again and again before it sleeps, while packets come closer than that',
    ),
  interfaces: z
    .strictObject({
      external: interfaceName.optional().describe('towards the gateways'),
      internal: listOf(interfacePattern).prefault([]).describe('towards the targets: no defragmentation'),
    })
    .prefault({}),
  vips: listOf(prefix, { least: 1 }).describe('virtual addresses that are load-balanced'),
  gateways: listOf(gateway, { most: MOST_GATEWAYS }).prefault([]),
  ecmp: z.boolean().default(true).describe('over all gateways that are up; false: over the first of them'),
  routerId: textOf(parseRouterId).optional().describe('BGP identifier, a dotted quad; default: derived'),
  portNats: listOf(portNat, { most: MOST_PORT_NATS }).prefault([]),
  streams: listOf(stream, { most: MOST_STREAMS }),
  flows: listOf(flow),
  hashMode: z.enum(['sctp-ports', 'five-tuple']).default('sctp-ports'),
  fragments: z
    .enum(['kernel', 'track'])
    .default('kernel')
    .describe('who handles fragments to the VIPs: the kernel puts them together, or each follows its first'),
  fragmentTimeout: duration('10ms', '60s')
    .default('500ms')
    .describe('how long the decision of a first fragment is remembered, and a later one waits for it'),
  promiscuousPing: z
    .boolean()
    .default(true)
    .describe('any ICMP message matches the first flow with its addresses'),
  queueMark: z
    .int()
    .min(1)
    .max(MAX_MARK)
    .default(QUEUE_MARK)
    .describe("mark that leads packets into the queues where the kernel lacks nftables' queue statement"),
  markMask: z
    .int()
    .min(1)
    .max(MAX_MARK)
    .default(WHOLE_MARK)
    .describe(
      'bits of the packet mark that magmark sets and compares; it keeps the others; default: all bits',
    ),
  noFlowFwmark: mark.optional().describe('mark of packets without a flow; default: drop'),
  noTargetsFwmark: mark
    .optional()
    .describe('mark of packets whose stream has no active target; default: drop'),
  rulesetFile: z
    .string()
    .regex(/^\/[^\0]*[^\0/]$/, { error: 'the ruleset file is an absolute path of a file' })
    .optional()
    .describe(
      'the applied nftables ruleset is written there too, as text that nft -f loads; default: nowhere',
    ),
  shutdownDelay: duration('0s', '10m')
    .default('1s')
    .describe('how long a stop goes on forwarding after the VIPs were withdrawn'),
  metrics: z
    .strictObject({
      address: textOf(parseListenAddress).describe(
        'where Prometheus is answered, for example 127.0.0.1:9273; :9273 is all addresses',
      ),
    })
    .optional()
    .describe('/metrics, /healthz and /readyz over HTTP; default: none'),
});

/** A configuration whose shape is right and whose defaults are filled in; what crosses its parts is checked later. */
export type Written = z.output<typeof schema>;

/** JSON Schema (draft 2020-12) of the file. */
export function jsonSchema(): object {
  return { title: 'magmark configuration', ...jsonSchemaOf(schema) };
}
