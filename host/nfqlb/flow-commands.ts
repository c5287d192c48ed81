/** Subcommands about flows, and about trace flows, which have the same options but no target. */
import type { FlowChange, NfqlbFlowReply } from '../control/api.js';
import { RefusedError } from '../control/client.js';
import { flowListText, flowText, namesText } from '../control/nfqlb-text.js';
import { type Command, change, type Outcome, read } from './command.js';
import { type Arguments, type Option, type Options, UsageError, wholeNumber } from './options.js';

const LEAST_PRIORITY = -0x80000000;
const MOST_PRIORITY = 0x7fffffff;
const MAX_PORT = 65535;

/** nfqlb's code where the dataplane refuses. */
const REFUSED = 255;

const NAME: Option = { help: 'name of the flow', required: true };
const CONDITIONS: Options = {
  protocols: { help: 'tcp, udp, sctp' },
  dsts: { help: 'destination prefixes, for example 20.0.0.1/32,2000::1/128' },
  srcs: { help: 'source prefixes' },
  dports: { help: 'destination ports and ranges, for example 80,4000-4003' },
  sports: { help: 'source ports and ranges' },
  match: { help: "statements about header bytes, for example 'tcp[13:1]&0x02=0x02'" },
};
const RULE = 'What is not given, or is empty, matches all. Several values are separated by commas.';

/** The parts of a list; nothing between two commas is no part. */
function partsOf(text: string): string[] {
  return text
    .split(',')
    .map(part => part.trim())
    .filter(part => part !== '');
}

/** @throws UsageError */
function askedFlow({ values }: Arguments): Extract<FlowChange, { set: unknown }>['set'] {
  const list = (name: string) => {
    const parts = partsOf(values.get(name) ?? '');
    return parts.length === 0 ? {} : { [name]: parts };
  };
  const number = (option: string, key: string, least: number, most: number) => {
    const text = values.get(option);
    return text === undefined ? {} : { [key]: wholeNumber(`--${option}`, text, least, most) };
  };
  const protocols = partsOf((values.get('protocols') ?? '').toLowerCase()) as ('tcp' | 'udp' | 'sctp')[];
  const ports = { ...list('dports'), ...list('sports') };
  const target = values.get('target');
  if (protocols.length === 0 && Object.keys(ports).length > 0)
    throw new UsageError('ports without --protocols: which have them is tcp, udp, sctp');
  return {
    name: values.get('name')!,
    ...(target === undefined ? {} : { target }),
    ...number('prio', 'priority', LEAST_PRIORITY, MOST_PRIORITY),
    ...(protocols.length === 0 ? {} : { protocols }),
    ...list('dsts'),
    ...list('srcs'),
    ...ports,
    ...list('match'),
    ...number('udpencap', 'udpencap', 1, MAX_PORT),
  };
}

/** `OK`, or `FAIL: why` as nfqlb says it: on stdout. */
async function changeFlow(args: Arguments, path: string, request: FlowChange): Promise<Outcome> {
  try {
    await change(args, path, request);
    return { stdout: 'OK\n' };
  } catch (error) {
    if (!(error instanceof RefusedError)) throw error;
    return { stdout: `FAIL: ${error.message.replaceAll('\n', '; ')}\n`, exitCode: REFUSED };
  }
}

/** All flows, or the one that is named; a name that is not there is nothing, as with nfqlb, and said on stderr. */
async function list(args: Arguments, path: string): Promise<Outcome> {
  const flows = await read<NfqlbFlowReply[]>(args, path);
  const name = args.values.get('name');
  if (name === undefined) return { stdout: flowListText(flows) };
  const found = flows.find(flow => flow.name === name);
  return found === undefined
    ? { stdout: '', stderr: `there is no flow ${name}\n` }
    : { stdout: flowText(found) };
}

/** The four commands of one set of flows. @param path of changes; @param listPath of the listing in nfqlb's terms */
function commandsOf(
  prefix: string,
  path: string,
  listPath: string,
  what: string,
  more: Options,
): Record<string, Command> {
  return {
    [`${prefix}flow-set`]: {
      usage: `[options]\n  Set a ${what}, or define it anew in its place. ${RULE}`,
      options: { name: NAME, ...more, ...CONDITIONS },
      run: args => changeFlow(args, path, { set: askedFlow(args) }),
    },
    [`${prefix}flow-delete`]: {
      usage: `--name=NAME\n  Delete a ${what}`,
      options: { name: NAME },
      run: args => changeFlow(args, path, { delete: { name: args.values.get('name')! } }),
    },
    [`${prefix}flow-list`]: {
      usage: `[--name=NAME]\n  List ${what}s in the order in which they are tried, as JSON`,
      options: { name: { help: `name of a ${what}` } },
      run: args => list(args, listPath),
    },
    [`${prefix}flow-list-names`]: {
      usage: `\n  List the names of ${what}s, as JSON`,
      options: {},
      run: async args => ({ stdout: namesText(await read<NfqlbFlowReply[]>(args, listPath)) }),
    },
  };
}

export const flowCommands: Readonly<Record<string, Command>> = {
  ...commandsOf('', '/v1/flows', '/v1/nfqlb/flows', 'flow', {
    target: { help: 'name of the stream', required: true },
    prio: { help: 'priority, larger wins; default 0' },
    udpencap: { help: 'UDP port that carries SCTP; only with --protocols=sctp' },
  }),
  ...commandsOf('trace-', '/v1/trace-flows', '/v1/trace-flows', 'trace flow', {}),
};
