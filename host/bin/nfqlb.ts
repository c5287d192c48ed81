#!/usr/bin/env node
/** The command `nfqlb`: what nfqlb prints, from a running magmark. */
import { parseArgs } from 'node:util';
import type { FlowReply, StreamReply } from '../control/api.js';
import { ask } from '../control/client.js';
import { flowListText, flowText, showText } from '../control/nfqlb-text.js';
import { socketPath } from '../control/socket.js';
import { MagmarkError } from '../types/errors.js';

const USAGE = `usage: nfqlb COMMAND [--socket PATH]
  flow-list [--name NAME]    flows in the order in which they are tried, as JSON
  show --shm NAME            the Maglev table of a stream (tshm-STREAM)
  version
  help
`;

/** Text for stdout of one command line. */
async function execute(command: string, args: string[]): Promise<string> {
  if (command === 'help' || command === '--help') return USAGE;
  if (command === 'version') {
    const { version } = await import('../version.js');
    return `magmark ${version}\n`;
  }
  if (command === 'flow-list') {
    const { values } = parseArgs({ args, options: { name: { type: 'string' }, socket: { type: 'string' } } });
    const flows = await ask<FlowReply[]>(socketPath(values.socket), '/v1/flows');
    if (values.name === undefined) return flowListText(flows);
    const flow = flows.find(each => each.name === values.name);
    if (flow === undefined) throw new UsageError(`there is no flow ${values.name}`);
    return `${flowText(flow)}\n`;
  }
  if (command === 'show') {
    const { values } = parseArgs({ args, options: { shm: { type: 'string' }, socket: { type: 'string' } } });
    const streams = await ask<StreamReply[]>(socketPath(values.socket), '/v1/streams');
    const stream = streams.find(each => each.name === values.shm);
    const names = streams.map(each => each.name).join(', ');
    if (stream === undefined)
      throw new UsageError(
        `${values.shm === undefined ? 'show needs --shm' : `there is no ${values.shm}`}; there are: ${names}`,
      );
    return showText(stream);
  }
  throw new UsageError(`there is no command ${command}\n${USAGE.trimEnd()}`);
}

class UsageError extends MagmarkError {
  readonly code = 'USAGE';
}

const [command = 'help', ...args] = process.argv.slice(2);
try {
  process.stdout.write(await execute(command, args));
} catch (error) {
  const argumentsFault = (error as NodeJS.ErrnoException).code?.startsWith('ERR_PARSE_ARGS') === true;
  if (!(error instanceof MagmarkError) && !argumentsFault) throw error;
  process.stderr.write(`nfqlb: ${(error as Error).message}\n`);
  process.exitCode = 1;
}
