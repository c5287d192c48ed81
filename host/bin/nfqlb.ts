#!/usr/bin/env node
/** The command `nfqlb`: nfqlb's own command line, in flow mode. A command loads nothing that it does not need. */
import type { Command } from '../nfqlb/command.js';
import { helpText, parseArguments, UsageError } from '../nfqlb/options.js';
import { MagmarkError } from '../types/errors.js';

type Commands = Readonly<Record<string, Command>>;

const streams = async (): Promise<Commands> => (await import('../nfqlb/stream-commands.js')).streamCommands;
const flows = async (): Promise<Commands> => (await import('../nfqlb/flow-commands.js')).flowCommands;
const tracing = async (): Promise<Commands> => (await import('../nfqlb/trace-commands.js')).traceCommands;

/** Where each command is, in the order in which they are listed. */
const COMMANDS: Readonly<Record<string, () => Promise<Commands>>> = {
  flowlb: async () => ({ flowlb: (await import('../nfqlb/flowlb-command.js')).flowlbCommand }),
  lb: async () => ({ lb: LB }),
  init: streams,
  delete: streams,
  show: streams,
  stats: streams,
  primebelow: streams,
  activate: streams,
  deactivate: streams,
  version: async () => ({ version: VERSION }),
  'flow-set': flows,
  'flow-delete': flows,
  'flow-list': flows,
  'flow-list-names': flows,
  trace: tracing,
  loglevel: tracing,
  'trace-flow-set': flows,
  'trace-flow-delete': flows,
  'trace-flow-list': flows,
  'trace-flow-list-names': flows,
  fwmark: async () => ({ fwmark: (await import('../nfqlb/fwmark-command.js')).fwmarkCommand }),
};

const LB: Command = {
  usage: '\n  Not here: it balances with no flows',
  options: {},
  takesRest: true,
  run() {
    throw new UsageError('there is no lb here: flowlb, with one flow that matches all, does the same');
  },
};

const VERSION: Command = {
  usage: '\n  Print the version',
  options: {},
  async run() {
    const { version } = await import('../version.js');
    return { stdout: `magmark ${version}\n` };
  },
};

function usage(): string {
  const names = Object.keys(COMMANDS).map(name => `  ${name}\n`);
  return `Usage: nfqlb <command> [opt...]\nCommands:\n${names.join('')}nfqlb <command> --help tells the options.\n`;
}

/** @returns the exit code */
async function execute(name: string | undefined, args: readonly string[]): Promise<number> {
  if (name === undefined || ['-h', '--help', 'help'].includes(name)) {
    process.stdout.write(usage());
    return 0;
  }
  const find = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (find === undefined)
    throw new UsageError(`Unknown command [${name}]; there are ${Object.keys(COMMANDS).join(', ')}`);
  const command = (await find())[name]!;
  // What `lb` would take is not known here.
  const parsed = parseArguments(name === 'lb' ? [] : args, command.options);
  if (parsed.help) {
    process.stdout.write(helpText(name, command.usage, command.options));
    return 0;
  }
  if (!command.takesRest && parsed.rest.length > 0)
    throw new UsageError(`${name} does not take ${parsed.rest.join(' ')}`);
  const { stdout, stderr = '', exitCode = 0 } = await command.run(parsed);
  process.stdout.write(stdout);
  process.stderr.write(stderr);
  return exitCode;
}

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // Who reads has enough (`| head`).
  if (error.code !== 'EPIPE') throw error;
  process.exit(0);
});
const [name, ...args] = process.argv.slice(2);
try {
  process.exitCode = await execute(name, args);
} catch (error) {
  if (!(error instanceof MagmarkError)) throw error;
  process.stderr.write(`nfqlb: ${error.message}\n`);
  process.exitCode = error.exitCode;
}
