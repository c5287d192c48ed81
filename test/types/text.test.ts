import t from 'tap';
import { ConfigError, KernelError, MOST_FAULTS } from '../../host/types/errors.js';
import { MOST_SHOWN, printable, printableLines, shown } from '../../host/types/text.js';

const HOSTILE = 'a\x1b[2J\x07\x7f\x9b31m\u202ereversed\u2028\x00\ud800b';
const HARMLESS = 'a\\u001b[2J\\u0007\\u007f\\u009b31m\\u202ereversed\\u2028\\u0000\\ud800b';

t.test(
  'controls, C1, DEL, format characters and lone surrogates are escaped; other scripts are not',
  async t => {
    t.equal(printable(HOSTILE), HARMLESS);
    t.equal(printable('one\ntwo\r'), 'one\\u000atwo\\u000d');
    t.equal(printableLines('one\n\ttwo\r'), 'one\n\ttwo\\u000d');
    t.equal(printable('\u{e0041}'), '\\udb40\\udc41', 'as in JSON');
    t.equal(printable('grüße, 日本語, 😀'), 'grüße, 日本語, 😀');
  },
);

t.test('a value is quoted in part if it is long', async t => {
  t.equal(shown('x'.repeat(MOST_SHOWN)), 'x'.repeat(MOST_SHOWN));
  t.equal(shown('x'.repeat(1_000_000)), `${'x'.repeat(MOST_SHOWN)}...`);
});

t.test('no error carries what a terminal obeys, whatever program said it', async t => {
  t.equal(new KernelError(`nft: ${HOSTILE}\nline 2`).message, `nft: ${HARMLESS}\nline 2`);
  t.strictSame(new ConfigError([`${HOSTILE}\n`]).faults, [`${HARMLESS}\\u000a`]);
});

t.test('an error of a configuration has a bounded number of lines of bounded length', async t => {
  const many = new ConfigError(
    Array.from({ length: 1_000_000 }, (_, index) => `vips[${index}]: ${'x'.repeat(5)}`),
  );
  t.equal(many.faults.length, MOST_FAULTS + 1);
  t.equal(many.faults.at(-1), `and ${1_000_000 - MOST_FAULTS} more faults`);
  t.strictSame(new ConfigError(many.faults).faults, many.faults, 'also where it is passed on');
  const [long] = new ConfigError(['y'.repeat(1_000_000)]).faults;
  t.ok(long!.length < 1100, `${long!.length}`);
});
