/** Who answers a queue: a program in C with its options, magmark, another nfqlb, or nobody, where packets are not queued. */
import { once } from 'node:events';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { waitFor } from '../../lab/wait.js';
import type { Compiled } from './compile.js';
import { MARK, PLAIN, type QueueNetwork, VIP } from './network.js';
import { PLACEMENT } from './placement.js';

/** What the program in C says of itself. */
export interface Counts {
  readonly packets: number;
  readonly batches: number;
  readonly systemCalls: number;
}

export interface Contestant {
  readonly name: string;
  /** Where its packets go to. */
  readonly destination: string;
  /** null: none. */
  readonly queue: number | null;
  /** Be in charge of the queue, and have it lead there. @returns its process; 0: none */
  start(): Promise<number>;
  /** After each measurement. null: it does not say. */
  stop(): Promise<Counts | null>;
}

export const PLAIN_FORWARDING: Contestant = {
  name: 'plain forwarding',
  destination: PLAIN,
  queue: null,
  start: () => Promise.resolve(0),
  stop: () => Promise.resolve(null),
};

/** The settings that magmark has, for all that is compared with it. */
export const QUEUE_LENGTH = 1024;
export const SINGLE: readonly string[] = [];
export const BATCHED: readonly string[] = [
  '--batch',
  '64',
  '--receive',
  'recvmmsg',
  '--verdicts',
  'concatenated',
];

/** Started anew for each measurement, which takes a millisecond. */
export function inC(
  network: QueueNetwork,
  compiled: Compiled,
  name: string,
  queue: number,
  options: readonly string[],
): Contestant {
  let child: Awaited<ReturnType<QueueNetwork['startReady']>> | null = null;
  const always = ['--queue', `${queue}`, '--length', `${QUEUE_LENGTH}`, '--mark', `${MARK}`];
  return {
    name,
    destination: VIP,
    queue,
    async start() {
      child = await network.startReady(
        'balancer',
        [...PLACEMENT.answerer, compiled.programs.queue, ...always, ...options],
        'bound',
      );
      await network.steer(queue);
      return child.pid!;
    },
    async stop() {
      const ended = once(child!, 'close');
      child!.kill('SIGTERM');
      await ended;
      if (child!.exitCode !== 0) throw new Error(`${name} ended with ${child!.exitCode}`);
      return JSON.parse(child!.said().split('\n')[1]!) as Counts;
    },
  };
}

const READY_MS = 20_000;
const FLOW = ['--name=bench', '--target=bench', '--prio=1', '--protocols=tcp,udp', `--dsts=${VIP}/32`];

/**
 * `nfqlb flowlb` with one stream, one target and one flow. It stays; only the queue leads elsewhere between measurements.
 * @param command words that start nfqlb, for example `node --trace-gc dist/host/bin/nfqlb.js`
 * @param more options of its `flowlb`
 */
export async function nfqlb(
  network: QueueNetwork,
  name: string,
  queue: number,
  command: readonly string[],
  table: string,
  more: readonly string[] = [],
): Promise<Contestant & { readonly pid: number; readonly logFile: string }> {
  const logFile = network.log(name.replaceAll(/[^a-z0-9]+/g, '-'));
  // One that is ours would find another's socket at the namespace's own place.
  const socket = `MAGMARK_SOCKET=${logFile}.sock`;
  const inside = [...network.inside('balancer'), ...PLACEMENT.answerer, 'env', socket, ...command];
  const options = [
    'flowlb',
    '--promiscuous_ping',
    `--queue=${queue}`,
    `--qlength=${QUEUE_LENGTH}`,
    '--hash_mode=0',
    ...more,
  ];
  const child = network.processes.start([...inside, ...options], logFile);
  const shared = `--shm=${table}`;
  const commands = [
    ['init', shared, '--ownfw=0', '--M=997', '--N=10'],
    ['activate', shared, '--index=0', `${MARK}`],
    ['flow-set', ...FLOW.map(word => word.replace('--target=bench', `--target=${table}`))],
  ];
  for (const words of commands) {
    await waitFor(`${name}: ${words.join(' ')} (see ${logFile})`, READY_MS, async () => {
      if (child.exitCode !== null)
        throw new Error(`${name} ended with ${child.exitCode}: ${readFileSync(logFile, 'utf8')}`);
      return (await network.processes.command([...inside, ...words], { mayFail: true })).code === 0;
    });
  }
  return {
    name,
    destination: VIP,
    queue,
    pid: child.pid!,
    logFile,
    async start() {
      await network.steer(queue);
      return child.pid!;
    },
    stop: () => Promise.resolve(null),
  };
}

/** Where an nfqlb other than ours keeps its tables, and leaves them (shm_open(3)). */
export function removeTables(table: string): void {
  for (const name of [table, `${table}-fragments`]) rmSync(`/dev/shm/${name}`, { force: true });
}

/** Nanoseconds that each thread of a process has run. */
export function threadTimes(pid: number): Map<number, number> {
  const folder = `/proc/${pid}/task`;
  return new Map(
    readdirSync(folder).map(tid => [
      Number(tid),
      Number(readFileSync(`${folder}/${tid}/schedstat`, 'utf8').split(' ')[0]),
    ]),
  );
}

/** The thread that ran most since `before`. */
export function busiest(pid: number, before: ReadonlyMap<number, number>): number {
  const ran = [...threadTimes(pid)].map(([tid, time]) => [tid, time - (before.get(tid) ?? 0)] as const);
  return ran.toSorted(([, one], [, other]) => other - one)[0]![0];
}
