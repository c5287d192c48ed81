/**
 * What `nfqlb flowlb` is asked on its control socket: JSON to plain values, or every fault with its path. The names are
 * those of nfqlb's options where a fault may speak of them.
 */
import { z } from 'zod';
import { unitedRanges } from '../types/address.js';
import type { Flow, PortRange, Prefix, Protocol } from '../types/config.js';
import { ConfigError } from '../types/errors.js';
import { parsePrefix } from './address.js';
import { parseByteMatch } from './byte-match.js';
import { faultLines } from './issues.js';
import { parsePortRange } from './range.js';

const MAX_MARK = 0xffffffff;
/** nfqlb's integers. */
const LEAST_PRIORITY = -0x80000000;
const MOST_PRIORITY = 0x7fffffff;
const MAX_TARGETS = 32767;
const MAX_TABLE_SIZE = 10_000_000;
const MAX_PORT = 65535;
/** The order in which nfqlb lists them. */
const PROTOCOLS = ['tcp', 'udp', 'sctp'] as const;

const name = z
  .string()
  .max(200)
  .regex(/^[A-Za-z0-9_+.-]+$/, { error: 'a name has letters, digits, "-", "_", "+" and "." only' });
const mark = z.int().min(0).max(MAX_MARK);
const index = z
  .int()
  .min(0)
  .max(MAX_TARGETS - 1);

/** Texts that `parse` understands, parsed; its fault is the message. */
function listOf<Value extends object>(parse: (text: string) => Value | string) {
  const item = z.string().transform((text, context): Value => {
    const parsed = parse(text);
    if (typeof parsed !== 'string') return parsed;
    context.addIssue({ code: 'custom', message: parsed });
    return z.NEVER;
  });
  // As nfqlb takes them: an empty list is an absent one.
  return z.array(item).optional();
}

function lowerCase(text: unknown): unknown {
  return typeof text === 'string' ? text.toLowerCase() : text;
}

function isSctpAlone(protocols: readonly Protocol[]): boolean {
  return protocols.length > 0 && protocols.every(each => each === 'sctp');
}

const flow = z
  .strictObject({
    name,
    target: name.optional(),
    priority: z.int().min(LEAST_PRIORITY).max(MOST_PRIORITY).optional(),
    protocols: z.array(z.preprocess(lowerCase, z.enum(PROTOCOLS))).optional(),
    dsts: listOf<Prefix>(parsePrefix),
    srcs: listOf<Prefix>(parsePrefix),
    dports: listOf<PortRange>(parsePortRange),
    sports: listOf<PortRange>(parsePortRange),
    match: listOf(parseByteMatch),
    udpencap: z.int().min(1).max(MAX_PORT).optional(),
  })
  .refine(({ protocols, udpencap }) => udpencap === undefined || isSctpAlone(protocols ?? []), {
    path: ['udpencap'],
    error: 'only with --protocols=sctp and nothing else',
  });

const activation = z
  .strictObject({ name: z.string(), index: index.optional(), fwmarks: z.array(mark) })
  .refine(({ index, fwmarks }) => index === undefined || fwmarks.length <= 1, {
    path: ['fwmarks'],
    error: 'one index has one mark',
  });

const init = z.strictObject({
  name,
  own: z.int(),
  tableSize: z.int().min(0).max(MAX_TABLE_SIZE),
  maxTargets: z.int().min(1).max(MAX_TARGETS),
});
const named = z.strictObject({ name: z.string() });

const logLevel = z.strictObject({ level: z.int().min(0).max(7) });

export type FlowChange = { readonly set: z.input<typeof flow> } | { readonly delete: z.input<typeof named> };

export type Activation = z.output<typeof activation>;
export type StreamChange =
  | { readonly init: z.output<typeof init> }
  | { readonly delete: z.output<typeof named> }
  | { readonly activate: Activation }
  | { readonly deactivate: Activation };

/** A flow that was asked for; `target` null: none was named. */
export interface AskedFlow {
  readonly target: string | null;
  readonly flow: Flow;
}

/** @throws ConfigError with a line for each fault */
export function readFlowChange(
  text: string,
): { readonly set: AskedFlow } | { readonly delete: { readonly name: string } } {
  const change = parseJson(text);
  const { verb, argument } = verbOf(change, ['set', 'delete']);
  return verb === 'delete' ? { delete: check(named, argument) } : { set: askedFlow(check(flow, argument)) };
}

function askedFlow(asked: z.output<typeof flow>): AskedFlow {
  const { target, protocols } = asked;
  return {
    target: target ?? null,
    flow: {
      name: asked.name,
      stream: target ?? '',
      priority: asked.priority ?? 0,
      protocols: PROTOCOLS.filter((each: Protocol) => protocols?.includes(each)),
      vips: asked.dsts ?? [],
      sourceSubnets: asked.srcs ?? [],
      // Listed as nfqlb lists them: ascending, those that touch as one.
      destinationPortRanges: unitedRanges(asked.dports ?? []),
      sourcePortRanges: unitedRanges(asked.sports ?? []),
      byteMatches: asked.match ?? [],
      udpEncapPort: asked.udpencap ?? null,
    },
  };
}

/** @throws ConfigError with a line for each fault */
export function readStreamChange(text: string): StreamChange {
  const { verb, argument } = verbOf(parseJson(text), ['init', 'delete', 'activate', 'deactivate']);
  switch (verb) {
    case 'init':
      return { init: check(init, argument) };
    case 'delete':
      return { delete: check(named, argument) };
    case 'activate':
      return { activate: check(activation, argument) };
    default:
      return { deactivate: check(activation, argument) };
  }
}

/** @throws ConfigError */
export function readLogLevel(text: string): number {
  return check(logLevel, parseJson(text)).level;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new ConfigError([`the request is not JSON: ${(error as Error).message}`]);
  }
}

/** `{VERB: argument}` */
function verbOf<Verb extends string>(
  change: unknown,
  verbs: readonly Verb[],
): { verb: Verb; argument: unknown } {
  const entries = typeof change === 'object' && change !== null ? Object.entries(change) : [];
  const verb = verbs.find(each => each === entries[0]?.[0]);
  if (entries.length !== 1 || verb === undefined)
    throw new ConfigError([`the request is not an object with one key of ${verbs.join(', ')}`]);
  return { verb, argument: entries[0]![1] };
}

function check<Schema extends z.ZodType>(schema: Schema, document: unknown): z.output<Schema> {
  const checked = schema.safeParse(document);
  if (checked.success) return checked.data;
  throw new ConfigError(faultLines(checked.error.issues, document));
}
