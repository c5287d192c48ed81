/** Whether a loop leaves work for the garbage collector. */
import { PerformanceObserver, performance } from 'node:perf_hooks';
import { setImmediate as turn } from 'node:timers/promises';

export interface Garbage {
  readonly packets: number;
  /** Collections of any kind while the loop ran. */
  readonly collections: number;
  /** Growth of the heap in use over the loop, the few objects of the measurement itself included. */
  readonly heapGrowthBytes: number;
  /** Collections that the same observer saw when garbage was made on purpose: it is not blind. */
  readonly control: number;
}

/** Turns of the event loop that are waited for the observer, whose entries come late. */
const TURNS = 20;
const MOST_CONTROL_ROUNDS = 1000;
const RUNS = 5;

/** @param loop runs without making promises; @param packets how many packets it decides */
export async function measureGarbage(loop: () => void, packets: number): Promise<Garbage> {
  const starts: number[] = [];
  const observer = new PerformanceObserver(list => {
    for (const { startTime } of list.getEntries()) starts.push(startTime);
  });
  observer.observe({ entryTypes: ['gc'] });
  const runs: Run[] = [];
  for (let n = 0; n < RUNS; n++) runs.push(runOnce(loop));
  const startedSince = (start: number) => starts.filter(each => each >= start).length;
  // V8 also collects when it finds itself idle, so the entries are told apart by their time.
  const littering = performance.now();
  for (let round = 0; startedSince(littering) === 0 && round < MOST_CONTROL_ROUNDS; round++) {
    litter();
    await settled();
  }
  observer.disconnect();
  const judged = runs.map(({ from, to, heapGrowthBytes }) => ({
    heapGrowthBytes,
    collections: starts.filter(start => start >= from && start <= to).length,
  }));
  // V8 compiles beside the loop and leaves its own in the heap: what the loop allocates, it allocates in every run.
  const [best] = judged.sort(
    (one, other) => one.collections - other.collections || one.heapGrowthBytes - other.heapGrowthBytes,
  );
  return { packets, ...best!, control: startedSince(littering) };
}

interface Run {
  readonly from: number;
  readonly to: number;
  readonly heapGrowthBytes: number;
}

function runOnce(loop: () => void): Run {
  const before = process.memoryUsage().heapUsed;
  const from = performance.now();
  loop();
  const to = performance.now();
  return { from, to, heapGrowthBytes: process.memoryUsage().heapUsed - before };
}

async function settled(): Promise<void> {
  for (let n = 0; n < TURNS; n++) await turn();
}

function litter(): void {
  const kept: object[] = [];
  for (let n = 0; n < 100_000; n++) kept[n % 100] = { n };
}
