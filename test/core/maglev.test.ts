import t from 'tap';
import { type Core, compileCore, createMemory, instantiateCore } from '../../host/core/wasm.js';
import { vectors } from '../fixture/vectors.js';
import { referenceTable } from '../reference/maglev.js';

const EMPTY = 0xffff;
const memory = createMemory(64 * 1024 * 1024);
const core: Core = instantiateCore(compileCore(), memory);

/** Table of `size` slots over the active indexes. */
function table(
  size: number,
  targetCount: number,
  active: readonly number[],
): { reason: number; slots: Uint16Array } {
  const activeAt = 1024 * 1024;
  const scratch = activeAt + Math.ceil(targetCount / 4) * 4;
  const slotsAt = scratch + core.populateScratchBytes(targetCount);
  new Uint8Array(memory.buffer, activeAt, targetCount).fill(0);
  for (const index of active) new Uint8Array(memory.buffer, activeAt, targetCount)[index] = 1;
  const slots = new Uint16Array(memory.buffer, slotsAt, size).fill(0xeeee);
  const reason = core.populate(slotsAt, size, activeAt, targetCount, scratch);
  return { reason, slots: slots.slice() };
}

t.test('every observed table of nfqlb comes out slot for slot', async t => {
  for (const [index, vector] of vectors.tables.entries()) {
    t.equal(core.primeAtMost(vector.tableSize), vector.M, `tables[${index}] takes the prime ${vector.M}`);
    const { slots } = table(vector.M, vector.maxTargets, Object.keys(vector.active).map(Number));
    const expected = vector.lookup ?? vector.lookupPrefix!;
    t.strictSame([...slots.subarray(0, expected.length)], expected, `tables[${index}] ${vector.desc}`);
  }
});

t.test('no active index leaves every slot EMPTY', async t => {
  const { reason, slots } = table(997, 32, []);
  t.equal(reason, core.Reason.Ok);
  t.ok(slots.every(slot => slot === EMPTY));
});

t.test('a size that is not a prime of at least 3 is refused and the slots stay as they were', async t => {
  for (const size of [1, 2, 4, 9, 100, 9999]) {
    const { reason, slots } = table(size, 4, [0, 1]);
    t.equal(reason, core.Reason.NotPrime, `${size}`);
    t.ok(
      slots.every(slot => slot === 0xeeee),
      `${size} untouched`,
    );
  }
});

t.test('the largest prime not above a number is exact, also beyond the cap of nfqlb', async t => {
  for (const [asked, prime] of [
    [0, 3],
    [3, 3],
    [4, 3],
    [10, 7],
    [10000, 9973],
    [65537, 65537],
    [993997, 993997],
    [1000003, 1000003],
    [1000010, 1000003],
  ]) {
    t.equal(core.primeAtMost(asked!), prime, `${asked}`);
  }
});

t.test('active indexes share the table within one slot of one another', async t => {
  for (const [size, count] of [
    [9973, 100],
    [997, 32],
    [65537, 100],
    [1000003, 10000],
  ] as const) {
    const { slots } = table(size, count, [...Array(count).keys()]);
    const shares = new Array<number>(count).fill(0);
    for (const slot of slots) shares[slot]!++;
    t.ok(Math.max(...shares) - Math.min(...shares) <= 1, `M=${size}, N=${count}`);
  }
});

t.test('no slot points at an index that is not active', async t => {
  const all = [...Array(20).keys()];
  for (const gone of all) {
    const { slots } = table(
      1999,
      20,
      all.filter(index => index !== gone),
    );
    t.notOk(slots.includes(gone), `without ${gone}`);
  }
});

t.test(
  'tables equal the plain reference, also above 65,536 slots where offset + j x skip overflows 32 bits',
  async t => {
    const rows: [number, number, readonly number[]][] = [
      [3, 3, [1]],
      [97, 10, [0, 2, 4, 9]],
      [65521, 100, [0, 1, 50, 99]],
      [65537, 100, [...Array(100).keys()]],
      [1000003, 300, [0, 7, 299]],
    ];
    for (const [size, count, active] of rows) {
      t.ok(
        Buffer.from(table(size, count, active).slots.buffer).equals(
          Buffer.from(Uint16Array.from(referenceTable(size, count, active)).buffer),
        ),
        `M=${size}, N=${count}`,
      );
    }
  },
);
