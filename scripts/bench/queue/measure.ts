/** One measurement of one contestant: packets under saturation, round trips at a rate, TCP. */
import { execFile } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { waitFor } from '../../lab/wait.js';
import { busiest, type Contestant, type Counts, threadTimes } from './contestant.js';
import { untilHeard } from './heard.js';
import type { QueueNetwork, RoundTrip } from './network.js';

export interface Saturated {
  /** Packets a second that reached the receiver. */
  readonly rate: number;
  /** Packets a second that were sent. */
  readonly offered: number;
  /** Part of what was sent that the kernel dropped at the queue; null: there is none. */
  readonly dropped: number | null;
  /** Nanoseconds of the answering thread a packet; null: there is none. */
  readonly threadTime: number | null;
  readonly counts: Counts | null;
}

/** Caches and queues have settled by then, after the first packets. */
const WARM_MS = 250;
const warm = (milliseconds: number): number => Math.min(WARM_MS, milliseconds);
/** Programs have started by then. */
const FIRST_MS = 10_000;
const ATTACH_MS = 300;
/** So many times in the round trips of a turn. */
const FIRST_PART = 5;
/** More than what a network says by itself. */
const FIRST_PACKETS = 20;

/** Start a load that goes on for `milliseconds` and its margins, and return when it has begun. */
async function begun(
  network: QueueNetwork,
  load: (milliseconds: number) => Promise<unknown>,
  milliseconds: number,
): Promise<{ ended: Promise<unknown> }> {
  const { packets } = network.received();
  const ended = load(milliseconds + 3 * warm(milliseconds));
  const over = ended.then(() => true);
  // Its failure is told where it is waited for.
  over.catch(() => undefined);
  await waitFor('the first packets to arrive', FIRST_MS, async () => {
    if (network.received().packets >= packets + FIRST_PACKETS) return true;
    return Promise.race([over, delay(0, false)]);
  });
  await delay(warm(milliseconds));
  return { ended };
}

async function under<Result>(
  contestant: Contestant,
  measure: (pid: number) => Promise<Result>,
): Promise<[Result, Counts | null]> {
  const pid = await contestant.start();
  let result: Result;
  try {
    result = await measure(pid);
  } catch (error) {
    await contestant.stop();
    throw error;
  }
  return [result, await contestant.stop()];
}

/** The receiver's growth over `milliseconds` of a load that began before and ends after. */
async function growth(
  network: QueueNetwork,
  load: (milliseconds: number) => Promise<unknown>,
  milliseconds: number,
  meanwhile: () => void = () => {},
) {
  const { ended } = await begun(network, load, milliseconds);
  meanwhile();
  const from = network.received();
  await delay(milliseconds);
  const to = network.received();
  meanwhile();
  await ended;
  const seconds = (to.at - from.at) / 1000;
  return {
    packets: (to.packets - from.packets) / seconds,
    bytes: (to.bytes - from.bytes) / seconds,
    seconds,
  };
}

export function saturate(
  network: QueueNetwork,
  contestant: Contestant,
  milliseconds: number,
): Promise<Saturated> {
  return untilHeard(
    contestant.name,
    () => saturateOnce(network, contestant, milliseconds),
    ({ rate }) => rate,
  );
}

async function saturateOnce(
  network: QueueNetwork,
  contestant: Contestant,
  milliseconds: number,
): Promise<Saturated> {
  const { queue, destination } = contestant;
  const [saturated, counts] = await under(contestant, async pid => {
    const times: number[] = [];
    const look = () => {
      if (pid !== 0) times.push([...threadTimes(pid).values()].reduce((sum, each) => sum + each, 0));
    };
    const before = queue === null ? 0 : network.dropped(queue);
    let [sent, offered] = [0, 0];
    const load = async (span: number) => {
      ({ sent } = await network.flood(destination, span, 0));
      offered = sent / (span / 1000);
    };
    const { packets, seconds } = await growth(network, load, milliseconds, look);
    const dropped = queue === null ? null : (network.dropped(queue) - before) / sent;
    const threadTime = pid === 0 ? null : (times[1]! - times[0]!) / (packets * seconds);
    return { rate: packets, offered, dropped, threadTime };
  });
  return { ...saturated, counts };
}

/** Bits a second of TCP. */
export async function stream(
  network: QueueNetwork,
  contestant: Contestant,
  milliseconds: number,
  connections: number,
): Promise<number> {
  const load = (span: number) => network.stream(contestant.destination, span, connections);
  const { bytes } = await untilHeard(
    contestant.name,
    async () => (await under(contestant, () => growth(network, load, milliseconds)))[0],
    ({ packets }) => packets,
  );
  return bytes * 8;
}

/** Without the first of them: a program that was started just now has yet to get its memory. */
export function roundTrips(
  network: QueueNetwork,
  contestant: Contestant,
  milliseconds: number,
  rate: number,
): Promise<RoundTrip> {
  return untilHeard(
    contestant.name,
    () => roundTripsOnce(network, contestant, milliseconds, rate),
    ({ microseconds }) => microseconds.length,
  );
}

async function roundTripsOnce(
  network: QueueNetwork,
  contestant: Contestant,
  milliseconds: number,
  rate: number,
): Promise<RoundTrip> {
  const [{ requests, microseconds }] = await under(contestant, () =>
    network.roundtrip(contestant.destination, milliseconds, rate),
  );
  const first = Math.floor(microseconds.length / FIRST_PART);
  return { requests: requests - first, microseconds: microseconds.slice(first) };
}

/**
 * System calls a packet of the answering thread while packets come faster than it answers, as the kernel's tracepoint counts
 * them; null: this machine has no perf that could.
 */
export async function systemCalls(
  network: QueueNetwork,
  contestant: Contestant,
  milliseconds: number,
): Promise<number | null> {
  const { packets, calls } = await untilHeard(
    contestant.name,
    () => systemCallsOnce(network, contestant, milliseconds),
    sample => sample.packets,
  );
  return calls === null ? null : calls / packets;
}

/** @returns `packets` that arrived while `calls` were counted */
async function systemCallsOnce(
  network: QueueNetwork,
  contestant: Contestant,
  milliseconds: number,
): Promise<{ packets: number; calls: number | null }> {
  const [result] = await under(contestant, async pid => {
    const before = threadTimes(pid);
    // perf takes some time to attach and to end.
    const flood = (span: number) => network.flood(contestant.destination, span + ATTACH_MS, 0);
    const { ended } = await begun(network, flood, milliseconds);
    const thread = busiest(pid, before);
    const from = network.received();
    const counted = await countCalls(thread, milliseconds);
    const to = network.received();
    await ended;
    const packets = to.packets - from.packets;
    if (counted === null) return { packets, calls: null };
    // Packets go on meanwhile: perf's own clock says how long it counted.
    return { packets: (packets / (to.at - from.at)) * counted.milliseconds, calls: counted.calls };
  });
  return result;
}

async function countCalls(
  thread: number,
  milliseconds: number,
): Promise<{ calls: number; milliseconds: number } | null> {
  const words = [
    'stat',
    '-x',
    ';',
    '-e',
    'raw_syscalls:sys_enter',
    '-e',
    'duration_time',
    '-t',
    `${thread}`,
    '--',
    'sleep',
    `${milliseconds / 1000}`,
  ];
  try {
    const { stderr } = await promisify(execFile)('perf', words);
    const value = (event: string): number =>
      Number(new RegExp(`^([0-9]+);[^;]*;${event}`, 'm').exec(stderr)?.[1]);
    const calls = value('raw_syscalls:sys_enter');
    const nanoseconds = value('duration_time');
    return Number.isFinite(calls) && Number.isFinite(nanoseconds)
      ? { calls, milliseconds: nanoseconds / 1e6 }
      : null;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}
