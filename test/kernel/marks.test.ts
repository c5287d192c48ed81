import fc from 'fast-check';
import t from 'tap';
import { markBlocks } from '../../host/kernel/marks.js';

const u32 = fc.integer({ min: 0, max: 0xffffffff });

function text(first: number, last: number): string {
  return markBlocks({ first, last })
    .map(({ value, mask }) => `${value.toString(16)}/${mask.toString(16)}`)
    .join(' ');
}

t.test('known ranges', t => {
  t.equal(text(5073, 5073), '13d1/ffffffff');
  t.equal(text(4096, 8191), '1000/fffff000');
  t.equal(text(1, 7), '1/ffffffff 2/fffffffe 4/fffffffc');
  t.equal(text(0xffffffff, 0xffffffff), 'ffffffff/ffffffff');
  t.equal(text(0, 0xffffffff), '0/0');
  t.end();
});

t.test('blocks are aligned, ascending and hold exactly the range', t => {
  fc.assert(
    fc.property(u32, u32, (a, b) => {
      const range = { first: Math.min(a, b), last: Math.max(a, b) };
      let next = range.first;
      const blocks = markBlocks(range);
      for (const { value, mask } of blocks) {
        const size = 2 ** 32 - mask;
        if (value !== next || value % size !== 0 || (size & (size - 1)) !== 0) {
          return false;
        }
        next += size;
      }
      return next === range.last + 1 && blocks.length <= 62;
    }),
  );
  t.pass();
  t.end();
});
