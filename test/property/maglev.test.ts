/** Laws of the tables, for random sizes, pools and active indexes. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { compileCore, createMemory, instantiateCore } from '../../host/core/wasm.js';
import { referencePrime, referenceTable } from '../reference/maglev.js';
import { check } from './check.js';

const EMPTY = 0xffff;
const ACTIVE_AT = 1024 * 1024;
const memory = createMemory(4 * 1024 * 1024);
const core = instantiateCore(compileCore(), memory);

function tableOf(size: number, targetCount: number, active: readonly number[]): number[] {
  const flags = new Uint8Array(memory.buffer, ACTIVE_AT, targetCount).fill(0);
  for (const index of active) flags[index] = 1;
  const scratch = ACTIVE_AT + Math.ceil(targetCount / 4) * 4;
  const slots = scratch + core.populateScratchBytes(targetCount);
  assert.equal(core.populate(slots, size, ACTIVE_AT, targetCount, scratch), core.Reason.Ok);
  return [...new Uint16Array(memory.buffer, slots, size)];
}

/** A prime size, a number of targets, and which of them are active. */
const pool = fc
  .tuple(
    fc.oneof(
      fc.integer({ min: 3, max: 30 }),
      fc.integer({ min: 3, max: 5000 }),
      fc.constantFrom(65_521, 65_537, 70_000),
    ),
    fc.integer({ min: 1, max: 120 }),
    fc.nat(100),
    fc.infiniteStream(fc.nat(99)),
  )
  .map(([asked, count, percent, draws]) => ({
    size: referencePrime(asked),
    count,
    active: Array.from({ length: count }, (_, index) => index).filter(() => draws.next().value < percent),
  }));

t.test('every table is the one of the reference, slot for slot', async () => {
  const property = fc.property(pool, ({ size, count, active }) => {
    const expected = referenceTable(size, count, active).map(index => (index < 0 ? EMPTY : index));
    assert.deepEqual(tableOf(size, count, active), expected);
  });
  await check(property, 300);
});

t.test('slots point at active indexes alone, and their shares differ by one at most', async () => {
  const property = fc.property(pool, ({ size, count, active }) => {
    const shares = new Map(active.map(index => [index, 0]));
    for (const index of tableOf(size, count, active)) {
      if (active.length === 0) assert.equal(index, EMPTY);
      else shares.set(index, shares.get(index)! + 1);
    }
    assert.deepEqual([...shares.keys()].sort(), [...active].sort());
    if (active.length > 0) assert.ok(Math.max(...shares.values()) - Math.min(...shares.values()) <= 1);
  });
  await check(property, 300);
});

t.test('the prime taken is the largest not above what was asked', async () => {
  const property = fc.property(fc.oneof(fc.nat(200), fc.nat(2_000_000)), asked => {
    assert.equal(core.primeAtMost(asked), referencePrime(asked));
  });
  await check(property, 2_000);
});
