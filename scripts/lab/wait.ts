/** Waiting for conditions, each with a deadline. */
import { execFile } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

const POLL_MS = 20;

/**
 * The first value of `condition` that is not null, undefined or false.
 * @param what names the condition in the error
 * @throws Error after `deadlineMs`; whatever `condition` throws, at once
 */
export async function waitFor<Value>(
  what: string,
  deadlineMs: number,
  condition: () => Value | null | undefined | false | Promise<Value | null | undefined | false>,
): Promise<Value> {
  const end = performance.now() + deadlineMs;
  while (true) {
    const value = await condition();
    if (value !== null && value !== undefined && value !== false) return value;
    if (performance.now() >= end) throw new Error(`waited ${deadlineMs} ms in vain for: ${what}`);
    await sleep(POLL_MS);
  }
}

/**
 * How many times slower than an idle one this machine is just now, at least 1: the start of Node against 100 ms, which it
 * takes when nothing else runs. For bounds that are promised of an idle machine.
 */
export async function slowness(): Promise<number> {
  const start = performance.now();
  await promisify(execFile)(process.execPath, ['-e', '0']);
  return Math.max(1, (performance.now() - start) / 100);
}

/** Set by `npm run test:times`. */
const STRICT = process.env.MAGMARK_STRICT_TIMES !== undefined;
/** The load of a shared machine comes and goes within one measurement. */
const UNSTEADY = 4;

/** What a time that is promised for an idle machine is multiplied with, here and now, to be sure that it is broken. */
export async function leeway(): Promise<number> {
  return (await slowness()) * (STRICT ? 1 : UNSTEADY);
}

/** Run `work` on every item, at most `width` at a time; results in the order of the items. */
export async function mapBounded<Item, Result>(
  items: readonly Item[],
  width: number,
  work: (item: Item, index: number) => Promise<Result>,
): Promise<Result[]> {
  const results = new Array<Result>(items.length);
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < items.length) {
      const index = next++;
      results[index] = await work(items[index]!, index);
    }
  };
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, lane));
  return results;
}
