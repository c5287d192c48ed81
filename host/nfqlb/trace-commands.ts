/** `trace` and `loglevel`. */
import { once } from 'node:events';
import type { LogLevel } from '../control/api.js';
import { follow } from '../control/client.js';
import { type Command, change, read, socketOf } from './command.js';
import { UsageError, wholeNumber } from './options.js';

/** Areas by the bit of nfqlb's mask. */
const AREAS: readonly string[] = ['log', 'packet', 'frag', 'flow-conf', 'sctp', 'target', 'flows'];
const MAX_MASK = 0xffffffff;
const DEBUG = 7;

/** A mask as C reads it: hexadecimal, octal or decimal. @throws UsageError */
function maskOf(text: string): number {
  const number = /^0x[0-9a-f]{1,8}$/i.test(text)
    ? Number(text)
    : /^0[0-7]{1,12}$/.test(text)
      ? Number.parseInt(text, 8)
      : /^[0-9]{1,10}$/.test(text)
        ? Number(text)
        : Number.NaN;
  if (!(number <= MAX_MASK)) throw new UsageError(`--mask: ${text} is not a number of 32 bits`);
  return number;
}

/** @throws UsageError */
function maskOfSelection(text: string): number {
  return text.split(',').reduce((mask, name) => {
    const bit = AREAS.indexOf(name);
    if (bit < 0) throw new UsageError(`--selection: there is no ${name}; there are ${AREAS.join(', ')}`);
    return (mask | (1 << bit)) >>> 0;
  }, 0);
}

export const traceCommands: Readonly<Record<string, Command>> = {
  trace: {
    usage: '--mask=BITS | --selection=AREA,...\n  Print what is decided, as it is decided',
    options: {
      mask: { help: '32 bits, for example 0xffffffff for everything' },
      selection: { help: AREAS.join(', ') },
      trace_address: { help: "address of nfqlb's trace server", ignored: true },
    },
    async run(args) {
      const [mask, selection] = [args.values.get('mask'), args.values.get('selection')];
      if ((mask === undefined) === (selection === undefined))
        throw new UsageError('trace needs one of --mask and --selection');
      const bits = mask === undefined ? maskOfSelection(selection!) : maskOf(mask);
      process.stdout.write(`Mask=0x${bits.toString(16).padStart(8, '0')}\n`);
      // A reader that is slow is waited for: the daemon tells what that one misses.
      for await (const chunk of follow(socketOf(args), `/v1/trace-text?mask=${bits}`))
        if (!process.stdout.write(chunk)) await once(process.stdout, 'drain');
      return { stdout: '' };
    },
  },

  loglevel: {
    usage: '[LEVEL]\n  Set the log level, or tell it: 4 warning, 5 notice, 6 information, 7 debug',
    options: {},
    takesRest: true,
    async run(args) {
      const [text] = args.rest;
      const { level } =
        text === undefined
          ? await read<LogLevel>(args, '/v1/loglevel')
          : await change<LogLevel>(args, '/v1/loglevel', { level: wholeNumber('loglevel', text, 0, DEBUG) });
      return { stdout: `loglevel=${level}\n` };
    },
  },
};
