/**
 * The program in a guest, where the kernel has nftables' `queue` statement: `node guest.js WORK RESULTS SCTP`.
 * - traffic: runs the demonstration, then makes SCTP associations through a daemon of its own and lists its tables;
 * - kernel: runs the tests of the kernel's room and those of fragments;
 * - others: runs the tests of what other programs do beside the daemon;
 * - takeover: runs the test of a takeover.
 * It writes RESULTS/report.json. What is found wrong is in the report; the host judges.
 */
import { execFile } from 'node:child_process';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LabDaemon } from '../lab/daemon.js';
import { LabGateway } from '../lab/gateway.js';
import { VIP } from '../lab/plan.js';
import { Topology } from '../lab/topology.js';
import type { CommandReport, GuestReport, Listings, Part, TrafficReport, Work } from './report.js';
import { associations, SCTP_FLOW, startSctpTargets } from './sctp.js';

const CONFIG = fileURLToPath(new URL('../../../scripts/lab/config.yaml', import.meta.url));
const DEMO = fileURLToPath(new URL('../lab/demo.js', import.meta.url));
const KERNEL_TESTS = fileURLToPath(new URL('../../test/kernel/kernel.test.js', import.meta.url));
const FRAGMENT_TESTS = fileURLToPath(new URL('../../test/end-to-end/fragments.test.js', import.meta.url));
const GUARD_TESTS = fileURLToPath(new URL('../../test/end-to-end/guard.test.js', import.meta.url));
const WITHDRAWAL_TESTS = fileURLToPath(new URL('../../test/end-to-end/withdrawal.test.js', import.meta.url));
/** The one of them that depends on rules of others. */
const LOCAL_VIP_TEST = 'a VIP that the kernel delivers to this host';
const TAKEOVER_TEST = fileURLToPath(new URL('../../test/end-to-end/takeover.test.js', import.meta.url));
/** Datagrams a second that an emulated processor can send and count besides all else. */
const LOAD = '200';
/** Fragments of a flood that it can count as well. */
const FLOOD = '1200';
const OUTPUT_BYTES = 64 * 1024 * 1024;

const [work, results, sctpProgram] = process.argv.slice(2) as [keyof Work, string, string];
const durationsMs: Record<string, number> = {};

async function timed<Found>(name: string, work: () => Promise<Found>): Promise<Found> {
  process.stderr.write(`guest: ${name}\n`);
  const start = performance.now();
  const found = await work();
  durationsMs[name] = Math.round(performance.now() - start);
  return found;
}

async function part<Found>(name: string, work: () => Promise<Found>): Promise<Part<Found>> {
  try {
    return await timed(name, work);
  } catch (error) {
    return { error: (error as Error).stack ?? String(error) };
  }
}

/** Run to the end, and show on the console what it says: the host prints that if there is no report. */
function command(argv: readonly string[]): Promise<CommandReport> {
  return new Promise((resolve, reject) => {
    const child = execFile(argv[0]!, argv.slice(1), { maxBuffer: OUTPUT_BYTES }, (error, stdout, stderr) => {
      if (error !== null && typeof error.code === 'string') return reject(error);
      resolve({ code: child.exitCode, stdout, stderr });
    });
    for (const stream of [child.stdout!, child.stderr!]) stream.pipe(process.stderr, { end: false });
  });
}

/** A daemon and a gateway as in the demonstration, with a flow for SCTP besides: flows do not show in the ruleset. */
async function withDaemon<Found>(
  work: (topology: Topology, config: string, carrier: string) => Promise<Found>,
): Promise<Found> {
  const topology = Topology.reserve({ staticRoutes: false });
  try {
    await topology.create();
    const gateway = new LabGateway(topology);
    await gateway.start();
    const configFile = join(topology.directory, 'config.yaml');
    const config = `${readFileSync(CONFIG, 'utf8')}${SCTP_FLOW}`;
    writeFileSync(configFile, config);
    const logFile = join(topology.directory, 'magmark.log');
    const daemon = new LabDaemon(topology, configFile, logFile);
    try {
      const { carrier } = await daemon.ready();
      await gateway.untilExchanged(VIP);
      return await work(topology, config, String(carrier));
    } catch (error) {
      process.stderr.write(`the end of magmark's log:\n${daemon.logTail()}\n`);
      throw error;
    }
  } finally {
    await topology.destroy();
  }
}

async function list(topology: Topology, carrier: string): Promise<Listings> {
  const nft = async (...words: string[]): Promise<string> => {
    const argv = [...Topology.inside(topology.loadBalancer), 'nft', 'list', ...words];
    return (await topology.processes.command(argv)).stdout;
  };
  return {
    carrier,
    'meridio-nfqlb': await nft('table', 'inet', 'meridio-nfqlb'),
    'meridio-defrag': await nft('table', 'inet', 'meridio-defrag'),
    'meridio-nat': await nft('table', 'inet', 'meridio-nat'),
    ruleset: await nft('ruleset'),
  };
}

async function traffic(): Promise<TrafficReport> {
  const demo = await timed('demo', () => command(['node', '--enable-source-maps', DEMO, '--json']));
  let sctp: TrafficReport['sctp'] = { error: 'the daemon was not ready' };
  const listings = await part('daemon', () =>
    withDaemon(async (topology, config, carrier) => {
      sctp = await part('sctp', async () => {
        await startSctpTargets(topology, sctpProgram);
        return associations(topology, sctpProgram, config);
      });
      // Behind the traffic, so that the counters are not all zero.
      return list(topology, carrier);
    }),
  );
  return { demo, listings, sctp };
}

const kernelTests = async (): Promise<Work['kernel']> => ({
  tests: await timed('tests', () => command(['node', '--enable-source-maps', KERNEL_TESTS])),
  fragments: await timed('fragments', () =>
    command(['env', `MAGMARK_FLOOD=${FLOOD}`, 'node', '--enable-source-maps', FRAGMENT_TESTS]),
  ),
});

const othersTests = async (): Promise<Work['others']> => ({
  guard: await timed('guard', () => command(['node', '--enable-source-maps', GUARD_TESTS])),
  withdrawal: await timed('withdrawal', () =>
    command(['env', `TAP_GREP=${LOCAL_VIP_TEST}`, 'node', '--enable-source-maps', WITHDRAWAL_TESTS]),
  ),
});

const takeoverTest = (): Promise<CommandReport> =>
  timed('takeover', () =>
    command(['env', `MAGMARK_LOAD=${LOAD}`, 'node', '--enable-source-maps', TAKEOVER_TEST]),
  );

const WORK: { readonly [Name in keyof Work]: () => Promise<Work[Name]> } = {
  traffic,
  kernel: kernelTests,
  others: othersTests,
  takeover: takeoverTest,
};

const report: GuestReport<keyof Work> = {
  found: await WORK[work](),
  kernel: release(),
  nft: (await command(['nft', '--version'])).stdout.trim(),
  durationsMs,
};
const draft = join(results, 'report.draft');
writeFileSync(draft, JSON.stringify(report));
renameSync(draft, join(results, 'report.json'));
