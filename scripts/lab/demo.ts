/** The program behind scripts/demo. */
import { copyFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { clean, noticeLeftovers } from './clean.js';
import { Container } from './container.js';
import { LabDaemon, NamespaceHousing } from './daemon.js';
import { Expectations } from './expectations.js';
import { LabGateway } from './gateway.js';
import { announced } from './gateway-steps.js';
import { kernelState, pasteableCommands } from './listings.js';
import { FAMILIES } from './plan.js';
import { Prediction } from './prediction.js';
import { reload } from './reload-step.js';
import { indented } from './report.js';
import { counters, type Scene, showListings, stop } from './steps.js';
import { Topology } from './topology.js';
import { Clients, startTargets } from './traffic.js';
import { fragments, ping, tcp } from './traffic-steps.js';

const CONFIG = fileURLToPath(new URL('../../../scripts/lab/config.yaml', import.meta.url));

const { values: options, positionals: ids } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'boolean' },
    keep: { type: 'boolean' },
    clean: { type: 'boolean' },
    // For npm run test:container: the daemon in a container of the image that scripts/container/setup made.
    container: { type: 'boolean' },
  },
});

/** With --json, stdout is for the document alone. */
const people = options.json ? process.stderr : process.stdout;
const say = (text: string): void => void people.write(`${text}\n`);

/** What ends a run from outside. */
class Interrupted extends Error {
  constructor(
    readonly reason: string,
    readonly exitCode: number,
  ) {
    super(reason);
  }
}

const interrupted = new Promise<never>((_, reject) => {
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const) {
    process.on(signal, () => reject(new Interrupted(signal, code)));
  }
  // Nobody reads any longer, for example `scripts/demo | head`.
  process.stdout.on('error', error => reject(new Interrupted(error.message, 1)));
  process.stderr.on('error', error => reject(new Interrupted(error.message, 1)));
});
interrupted.catch(() => undefined);

/** A Ctrl-C ends the commands that run as well, and that may be heard of before the signal itself is. */
const SIGNAL_LATENESS_MS = 500;

async function latecomer(): Promise<Interrupted | null> {
  try {
    return await Promise.race([interrupted, sleep(SIGNAL_LATENESS_MS, null)]);
  } catch (error) {
    return error as Interrupted;
  }
}

/** The JSON document, as far as it is known. */
interface Document {
  ok: boolean;
  [key: string]: unknown;
}

async function run(
  topology: Topology,
  expectations: Expectations,
  document: Document,
  logFile: string,
  container: Container | null,
): Promise<void> {
  const durations: Record<string, number> = {};
  document.durations = durations;
  const step = async <Result>(name: string, title: string, work: () => Promise<Result>): Promise<Result> => {
    say(title);
    const start = performance.now();
    const result = await work();
    durations[name] = Math.round(performance.now() - start);
    return result;
  };

  const clients = await step('topologyMs', `building the network ${topology.id}`, async () => {
    await topology.create();
    const started = new Clients(topology);
    await startTargets(topology);
    return started;
  });
  const gateway = new LabGateway(topology);
  await step('gatewayMs', `starting BIRD in ${topology.gateway}`, () => gateway.start());
  const configFile = join(topology.directory, 'config.yaml');
  copyFileSync(CONFIG, configFile);
  const before = await kernelState(topology);

  const { loadBalancer } = topology;
  const housing = container ?? new NamespaceHousing(loadBalancer);
  const daemon = new LabDaemon(topology, configFile, logFile, loadBalancer, [], {}, housing);
  const ready = await step('startMs', `starting magmark in ${topology.loadBalancer}`, () => daemon.ready());
  document.carrier = ready.carrier;
  say(`  ready, pid ${daemon.pid}; the way into the queue: ${ready.carrier}`);

  const predict = (text: string): Prediction => new Prediction(text, configFile);
  const prediction = predict(readFileSync(configFile, 'utf8'));
  const scene: Scene = { topology, daemon, gateway, clients, expectations, prediction, say };

  document.bgp = await step('announceMs', 'the gateway learns of the VIPs', () => announced(scene));

  const { figures, targets } = await step('tcpMs', 'TCP connections from 64 clients a family', () =>
    tcp(scene),
  );
  document.tcp = figures;
  document.targets = targets.map(({ identifier, fwmark, connections }) => ({
    identifier,
    fwmark,
    connections,
  }));
  document.ping = await step('pingMs', 'ping', () => ping(scene));
  document.fragments = await step('fragmentsMs', 'fragmented UDP datagrams', () => fragments(scene));
  document.lookup = await step('listingsMs', 'what an operator sees', () => showListings(scene));
  document.reload = await step('reloadMs', 'a target leaves and comes back', () =>
    reload(scene, configFile, predict),
  );
  await step('countersMs', 'what magmark counted', () =>
    counters(scene, FAMILIES.length * figures.ipv4.attempted),
  );
  await clients.end();
  if (!options.keep) {
    document.stop = await step('stoppingMs', 'stopping magmark', () => stop(scene, before));
  }
}

async function demonstrate(): Promise<number> {
  const start = performance.now();
  const document: Document = { ok: false };
  const expectations = new Expectations(({ name, ok, detail }) =>
    say(
      `  ${ok ? 'ok    ' : 'FAILED'} ${name}${detail.includes('\n') ? `\n${indented(detail)}` : `: ${detail}`}`,
    ),
  );
  const topology = Topology.reserve({ staticRoutes: false });
  const logFile = join(topology.directory, 'magmark.log');
  const container = options.container ? new Container(topology) : null;
  let interruption: Interrupted | null = null;
  let kept = false;
  let log = '';
  try {
    noticeLeftovers(say);
    await Promise.race([run(topology, expectations, document, logFile, container), interrupted]);
    if (options.keep) {
      topology.keep();
      kept = true;
    }
  } catch (error) {
    interruption = error instanceof Interrupted ? error : await latecomer();
    if (interruption === null) {
      const detail = (error as Error).stack ?? String(error);
      expectations.expect('the demonstration runs to its end', false, detail);
    }
  }
  if (!kept) {
    log = tailOf(logFile);
    try {
      // First the container: it holds the namespace.
      await (container?.remove() ?? Promise.resolve()).finally(() => topology.destroy());
    } catch (error) {
      process.stderr.write(`demo: ${(error as Error).message}\nscripts/demo --clean removes what is left\n`);
      return interruption?.exitCode ?? 1;
    }
  }
  if (interruption !== null) {
    process.stderr.write(`demo: ${interruption.reason}; everything was removed\n`);
    return interruption.exitCode;
  }

  const { failed } = expectations;
  document.ok = failed.length === 0;
  document.expectations = expectations.all;
  (document.durations as Record<string, number>).totalMs = Math.round(performance.now() - start);
  if (kept) {
    document.kept = {
      id: topology.id,
      loadBalancer: topology.loadBalancer,
      commands: pasteableCommands(topology),
    };
    say(`\n${topology.id} is left running. To look at it:\n`);
    for (const command of pasteableCommands(topology)) say(`  ${command}`);
    say(`\nTo remove it: scripts/demo --clean ${topology.id}`);
  }
  if (document.ok) say(`all ${expectations.all.length} expectations held`);
  else {
    process.stderr.write(`demo: ${failed.length} of ${expectations.all.length} expectations failed:\n`);
    for (const { name } of failed) process.stderr.write(`  ${name}\n`);
    if (log !== '') process.stderr.write(`the end of magmark's log:\n${indented(log)}\n`);
  }
  if (options.json) {
    await new Promise<void>(resolve =>
      process.stdout.write(`${JSON.stringify(document)}\n`, () => resolve()),
    );
  }
  return document.ok ? 0 : 1;
}

function tailOf(file: string, lineCount = 30): string {
  try {
    return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-lineCount).join('\n');
  } catch (error) {
    // The run ended before there was one.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}

process.exit(options.clean ? await clean(ids, say) : await demonstrate());
