#!/usr/bin/env node
/** The command `magmark`. */
import '../cli/signals.js';
import { Command, CommanderError, Option } from 'commander';
import { examplesText } from '../cli/examples.js';
import { fail, USAGE, wantsJson } from '../cli/failure.js';
import { endWithReader } from '../cli/output.js';
import { MagmarkError } from '../types/errors.js';
import { printableLines } from '../types/text.js';
import { version } from '../version.js';

const program = new Command('magmark')
  .description(
    'Stateless L3/L4 load balancer: NFQUEUE packets, a WebAssembly core, marks that the kernel routes by.',
  )
  .version(version)
  // An argument may hold what steers a terminal.
  .configureOutput({ writeErr: text => process.stderr.write(printableLines(text)) })
  .showHelpAfterError('(magmark --help shows what is possible)');

const socketOption = () =>
  new Option(
    '--socket <path>',
    'control socket; default: $MAGMARK_SOCKET, then that of this network namespace',
  );

program
  .command('run')
  .description('run the daemon in the foreground; SIGHUP re-reads the file, SIGTERM and SIGINT stop it')
  .option('--config <file>', 'configuration, YAML or JSON; default: what was applied last')
  .option('--watch', 'read the file again whenever it changes')
  .option(
    '--state <file>',
    'where what was applied last is kept; default: /var/lib/magmark/state-NAME.json of the network namespace, ' +
      'state.json if it has no name',
  )
  .addOption(socketOption())
  .option(
    '--journal <file>',
    'what was made in the kernel; default: beside the control socket of this namespace',
  )
  .option(
    '--host-namespace',
    "work in the machine's initial network namespace: switches off its connection tracking",
  )
  .option(
    '--takeover',
    'take over from the magmark that runs in this network namespace, without losing a packet; it leaves then',
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
  .option('--json', 'as JSON')
  .argument('<file>', 'configuration, YAML or JSON')
  .action(async (file: string, options) => (await import('../cli/validate.js')).validate(file, options));

program
  .command('replay')
  .description('decide the packets of a capture with the production core: no root, no daemon')
  .requiredOption('--config <file>', 'configuration, YAML or JSON')
  .option('--json', 'one line of JSON per packet')
  .argument('<capture>', 'pcap or pcapng: Ethernet, raw IP or Linux cooked')
  .action(async (capture: string, options) => (await import('../cli/replay.js')).replay(capture, options));

program
  .command('schema')
  .description('print the JSON Schema of the configuration')
  .option('--json', 'as it is in any case')
  .action(async () => {
    const { jsonSchema } = await import('../config/schema.js');
    process.stdout.write(`${JSON.stringify(jsonSchema(), null, 2)}\n`);
  });

/** A command that asks the daemon one thing and prints it. */
function asking<Reply>(
  name: string,
  description: string,
  path: string,
  text: (reply: Reply) => Promise<string>,
): void {
  program
    .command(name)
    .description(description)
    .addOption(socketOption())
    .option('--json', 'as JSON')
    .action(async (options: { socket?: string; json?: boolean }) => {
      const [{ ask }, { socketPath }] = await Promise.all([
        import('../control/client.js'),
        import('../control/socket.js'),
      ]);
      const reply = await ask<Reply>(socketPath(options.socket), path);
      process.stdout.write(options.json ? `${JSON.stringify(reply, null, 2)}\n` : `${await text(reply)}\n`);
    });
}

type Status = import('../control/api.js').StatusReply;

program
  .command('status')
  .description('targets, gateways, queues and state of the running daemon, on one screen')
  .addOption(socketOption())
  .option('--json', 'as JSON; with --watch one line each time')
  .option('--watch', 'again every second, until Ctrl-C')
  .action(async (options: { socket?: string; json?: boolean; watch?: boolean }) =>
    (await import('../cli/status.js')).status(options),
  );

program
  .command('health')
  .description('whether the daemon is alive: exit 0, or 1; for container health checks')
  .addOption(socketOption())
  .option('--ready', 'whether packets can be sent to it')
  .option('--json', 'as JSON')
  .action(async (options: { socket?: string; ready?: boolean; json?: boolean }) =>
    (await import('../cli/health.js')).health(options),
  );

asking<Status>(
  'targets',
  'targets of all streams and their states; "healthy" does not prove that answers find their way back to clients',
  '/v1/status',
  async reply => (await import('../cli/listings.js')).targetsText(reply),
);
asking<import('../control/api.js').FlowReply[]>(
  'flows',
  'flows in the order in which they are tried, with their match counts',
  '/v1/flows',
  async reply => (await import('../cli/listings.js')).flowsText(reply),
);
asking<import('../control/api.js').StreamReply[]>(
  'streams',
  'streams, the sizes of their tables and their active targets',
  '/v1/streams',
  async reply => (await import('../cli/listings.js')).streamsText(reply),
);
asking<Status>('gateways', 'gateways, their sessions and BFD', '/v1/status', async reply =>
  (await import('../cli/listings.js')).gatewaysText(reply),
);

program
  .command('apply')
  .description('bring a configuration about in place of the file, until SIGHUP reads that again')
  .addOption(socketOption())
  .option('--json', 'as JSON')
  .argument('<file>', 'configuration, YAML or JSON')
  .addHelpText('after', '\nA faulty file changes nothing: exit 1 with one line per fault.')
  .action(async (file: string, options: { socket?: string; json?: boolean }) =>
    (await import('../cli/apply.js')).apply(file, options),
  );

program
  .command('reload')
  .description('have the daemon read its file again, as SIGHUP does, and wait for what comes of it')
  .addOption(socketOption())
  .option('--json', 'as JSON')
  .addHelpText('after', '\nA faulty file changes nothing: exit 1 with one line per fault.')
  .action(async (options: { socket?: string; json?: boolean }) =>
    (await import('../cli/reload.js')).reload(options),
  );

program
  .command('diff')
  .description(
    'what the kernel lacks (+), holds otherwise (~) or too much (-), and what others hold there (!)',
  )
  .addOption(socketOption())
  .option('--json', 'as JSON')
  .argument('[file]', 'a configuration to ask about, before it is applied; default: the one in force')
  .addHelpText(
    'after',
    '\nChanges nothing. Exit 0: nothing differs; 1: something does, or the file is faulty.',
  )
  .action(async (file: string | undefined, options: { socket?: string; json?: boolean }) => {
    process.exitCode = await (await import('../cli/diff.js')).diff(file, options);
  });

program
  .command('explain')
  .description('who gets a packet, by which way, and why no other flow took it')
  .addOption(socketOption())
  .option('--config <file>', 'by this file instead of the running daemon; no root needed')
  .option('--json', 'as JSON')
  .argument('<packet...>', '<proto> <src>:<sport> > <dst>:<dport>')
  .action(async (words: string[], options: { socket?: string; config?: string; json?: boolean }) => {
    const { explainOffline, explanationText } = await import('../cli/explain.js');
    const packet = words.join(' ');
    let reply: import('../control/api.js').ExplainReply;
    if (options.config !== undefined) reply = await explainOffline(options.config, packet);
    else {
      const [{ ask }, { socketPath }] = await Promise.all([
        import('../control/client.js'),
        import('../control/socket.js'),
      ]);
      const query = new URLSearchParams({ packet });
      reply = await ask(socketPath(options.socket), `/v1/explain?${query}`);
    }
    process.stdout.write(options.json ? `${JSON.stringify(reply, null, 2)}\n` : explanationText(reply));
  });

/** nfqlb's flow syntax. */
const choosing = (command: Command): Command =>
  command
    .addOption(socketOption())
    .option('--protocols <list>', 'tcp,udp,sctp')
    .option('--dsts <prefixes>', 'destinations: 20.0.0.1/32,2000::1/128')
    .option('--srcs <prefixes>', 'sources')
    .option('--dports <ranges>', 'destination ports: 80,4000-4003')
    .option('--sports <ranges>', 'source ports')
    .option('--match <statements>', 'bytes of the transport header: tcp[13:1] & 0x02 = 0x02')
    .option('--count <n>', 'end after so many packets');

choosing(program.command('trace'))
  .description('show decisions as they are made, until Ctrl-C')
  .option('--json', 'one line of JSON per packet')
  .action(async options => (await import('../cli/trace.js')).trace(options));

choosing(program.command('capture'))
  .description('write packets with their decisions as comments to a pcapng file, until Ctrl-C')
  .requiredOption('-w, --write <file>', 'pcapng; - is standard output')
  .option('--snaplen <bytes>', 'bytes of each packet, at most 512', '512')
  .option('--json', 'what came of it as JSON, in the end; not with -w -')
  .action(async options => (await import('../cli/capture.js')).capture(options));

for (const command of program.commands) {
  command.addHelpText('after', examplesText(command.name()));
  command.exitOverride();
}

// The daemon's log is its own, and its end is no reason to end with 0.
if (process.argv[2] !== 'run') endWithReader(process.stdout);
const json = wantsJson(process.argv.slice(2));
try {
  await program.exitOverride().parseAsync();
} catch (error) {
  // commander has told people already; help and version are no faults.
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode;
    if (json && error.exitCode !== 0)
      process.stdout.write(`${JSON.stringify({ error: printableLines(error.message), code: USAGE })}\n`);
  } else if (error instanceof MagmarkError) fail(error, json);
  else throw error;
}
