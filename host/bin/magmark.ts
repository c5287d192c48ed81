#!/usr/bin/env node
/** The command `magmark`. */
import '../cli/signals.js';
import { Command, Option } from 'commander';
import { MagmarkError } from '../types/errors.js';
import { version } from '../version.js';

const program = new Command('magmark')
  .description(
    'Stateless L3/L4 load balancer: NFQUEUE packets, a WebAssembly core, marks that the kernel routes by.',
  )
  .version(version)
  .showHelpAfterError('(magmark --help shows what is possible)');

const socketOption = () =>
  new Option(
    '--socket <path>',
    'control socket; default: $MAGMARK_SOCKET, then that of this network namespace',
  );

program
  .command('run')
  .description('run the daemon in the foreground; SIGHUP re-reads the file, SIGTERM and SIGINT stop it')
  .requiredOption('--config <file>', 'configuration, YAML or JSON')
  .addOption(socketOption())
  .option(
    '--journal <file>',
    'what was made in the kernel; default: beside the control socket of this namespace',
  )
  .option(
    '--host-namespace',
    "work in the machine's initial network namespace: switches off its connection tracking",
  )
  .addOption(
    new Option('--log-level <level>', 'least severe level that is logged')
      .choices(['trace', 'debug', 'info', 'warn', 'error', 'fatal'])
      .default('info'),
  )
  .action(async options => (await import('../cli/run.js')).run(options));

program
  .command('validate')
  .description('check a configuration: exit 0, or 1 with one line per fault on stderr')
  .argument('<file>')
  .action(async (file: string) => (await import('../cli/validate.js')).validate(file));

program
  .command('replay')
  .description('decide the packets of a capture with the production core: no root, no daemon')
  .requiredOption('--config <file>', 'configuration, YAML or JSON')
  .option('--json', 'one line of JSON per packet')
  .argument('<capture>', 'pcap: Ethernet, raw IP or Linux cooked')
  .action(async (capture: string, options) => (await import('../cli/replay.js')).replay(capture, options));

program
  .command('schema')
  .description('print the JSON Schema of the configuration')
  .action(async () => {
    const { jsonSchema } = await import('../config/schema.js');
    process.stdout.write(`${JSON.stringify(jsonSchema(), null, 2)}\n`);
  });

program
  .command('status')
  .description('targets, queues and state of the running daemon')
  .addOption(socketOption())
  .option('--json', 'as JSON')
  .action(async (options: { socket?: string; json?: boolean }) => {
    const [{ ask }, { socketPath }, { statusText }] = await Promise.all([
      import('../control/client.js'),
      import('../control/socket.js'),
      import('../cli/status.js'),
    ]);
    const status = await ask<import('../control/api.js').StatusReply>(
      socketPath(options.socket),
      '/v1/status',
    );
    process.stdout.write(options.json ? `${JSON.stringify(status, null, 2)}\n` : statusText(status));
  });

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof MagmarkError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = error.exitCode;
}
