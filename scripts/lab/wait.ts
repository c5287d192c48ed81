/** Waiting for conditions, each with a deadline. */
import { setTimeout as sleep } from 'node:timers/promises';

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
