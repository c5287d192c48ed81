/** Subcommands about streams, nfqlb's shared memories. */
import type { FragmentsReply, NfqlbStreamReply, StreamChange, StreamChangeReply } from '../control/api.js';
import { fragmentsText, showText } from '../control/nfqlb-text.js';
import { type Command, change, type Outcome, read } from './command.js';
import { type Arguments, type Option, type Options, UsageError, wholeNumber } from './options.js';
import { primeBelow } from './prime.js';

const DEFAULT_SHM = 'nfqlb';
const DEFAULT_TABLE_SIZE = 997;
const DEFAULT_TARGETS = 32;
const MAX_TABLE_SIZE = 10_000_000;
const MAX_TARGETS = 32767;
const MAX_MARK = 0xffffffff;
const MAX_INT = 0x7fffffff;
const LEAST_PRIME = 2;

const SHM: Option = { help: `name of the stream; default ${DEFAULT_SHM}` };
const ACTIVATION: Options = { shm: SHM, index: { help: 'index in the table, from 0 and below N' } };

const shmOf = ({ values }: Arguments): string => values.get('shm') ?? DEFAULT_SHM;

/** The value of `--name`, or its default. */
function numberOf(
  { values }: Arguments,
  name: string,
  byDefault: number,
  least: number,
  most: number,
): number {
  const text = values.get(name);
  return text === undefined ? byDefault : wholeNumber(`--${name}`, text, least, most);
}

function activationOf(args: Arguments) {
  const index = args.values.get('index');
  return {
    name: shmOf(args),
    ...(index === undefined ? {} : { index: wholeNumber('--index', index, 0, MAX_TARGETS - 1) }),
    fwmarks: args.rest.map(text => wholeNumber('mark', text, 0, MAX_MARK)),
  };
}

function changeStream(args: Arguments, request: StreamChange): Promise<StreamChangeReply> {
  return change<StreamChangeReply>(args, '/v1/streams', request);
}

const NOTHING: Outcome = { stdout: '' };

export const streamCommands: Readonly<Record<string, Command>> = {
  init: {
    usage: '[options]\n  Make a stream, or make it anew with no target',
    options: {
      ownfw: { help: 'own mark, in a tier of load balancers; default 0' },
      shm: SHM,
      M: { help: `slots of the Maglev table; the prime below is taken; default ${DEFAULT_TABLE_SIZE}` },
      N: { help: `most targets; default ${DEFAULT_TARGETS}` },
    },
    async run(args) {
      const tableSize = numberOf(args, 'M', DEFAULT_TABLE_SIZE, 0, MAX_TABLE_SIZE);
      const maxTargets = numberOf(args, 'N', DEFAULT_TARGETS, 1, MAX_TARGETS);
      const own = numberOf(args, 'ownfw', 0, -MAX_INT - 1, MAX_INT);
      const init = { name: shmOf(args), own, tableSize, maxTargets };
      const { tableSize: prime } = await changeStream(args, { init });
      return { stdout: prime === tableSize ? '' : `M adjusted; ${tableSize} -> ${prime}\n` };
    },
  },

  delete: {
    usage: '--shm=NAME\n  Delete a stream; flows that have it decide by it until they are deleted',
    options: { shm: { help: 'name of the stream', required: true } },
    async run(args) {
      await changeStream(args, { delete: { name: shmOf(args) } });
      return NOTHING;
    },
  },

  activate: {
    usage:
      '[--shm=NAME] [--index=I] MARK...\n  Activate targets: one at an index, or marks at the lowest free ones',
    options: ACTIVATION,
    takesRest: true,
    async run(args) {
      const activate = activationOf(args);
      if (activate.index !== undefined && activate.fwmarks.length !== 1)
        throw new UsageError(`activate --index=${activate.index} needs one mark`);
      const { left } = await changeStream(args, { activate });
      if (left.length === 0) return NOTHING;
      return { stdout: '', stderr: `${activate.name} is full: not activated: ${left.join(' ')}\n` };
    },
  },

  deactivate: {
    usage: '[--shm=NAME] [--index=I | MARK...]\n  Deactivate targets',
    options: ACTIVATION,
    takesRest: true,
    async run(args) {
      await changeStream(args, { deactivate: activationOf(args) });
      return NOTHING;
    },
  },

  show: {
    usage: '[--shm=NAME]\n  Show the table and the active targets of a stream',
    options: { shm: SHM },
    async run(args) {
      const streams = await read<NfqlbStreamReply[]>(args, '/v1/nfqlb/streams');
      const found = streams.find(({ name }) => name === shmOf(args));
      if (found !== undefined) return { stdout: showText(found) };
      const names = streams.map(({ name }) => name);
      throw new UsageError(
        `there is no shm ${shmOf(args)}; ${names.length === 0 ? 'there is none' : `there are: ${names.join(', ')}`}`,
      );
    },
  },

  stats: {
    usage: '\n  Show the counters of fragments',
    options: { ft_shm: { help: "name of nfqlb's fragment table", ignored: true } },
    async run(args) {
      return { stdout: fragmentsText(await read<FragmentsReply>(args, '/v1/fragments')) };
    },
  },

  primebelow: {
    usage: 'N\n  Print the largest prime that is not above N',
    options: {},
    takesRest: true,
    run({ rest: [text] }) {
      if (text === undefined) return NOTHING;
      const number = wholeNumber('primebelow', text, 0, MAX_INT);
      if (number < LEAST_PRIME) throw new UsageError(`There is no prime below ${number}`);
      return { stdout: `${primeBelow(number)}\n` };
    },
  },
};
