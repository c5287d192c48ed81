import { PassThrough } from 'node:stream';
import t from 'tap';
import { readLines } from '../../host/util/lines.js';

async function linesOf(chunks: readonly string[], mostCharacters = 10): Promise<string[]> {
  const stream = new PassThrough();
  const lines: string[] = [];
  const ended = new Promise<void>(resolve =>
    readLines(stream, { onLine: line => lines.push(line), onEnd: resolve, mostCharacters }),
  );
  for (const chunk of chunks) stream.write(chunk);
  stream.end();
  await ended;
  return lines;
}

t.test('lines come whole, whatever the chunks; the last one may have no end', async t => {
  t.strictSame(await linesOf(['a\nb', 'c\n', '\n', 'd']), ['a', 'bc', '', 'd']);
  t.strictSame(await linesOf(['a\r\n']), ['a']);
  t.strictSame(await linesOf([]), []);
});

t.test('a line that is too long is cut, and the next one is whole', async t => {
  t.strictSame(await linesOf(['0123456789abc\nnext\n']), ['0123456789', 'next']);
  t.strictSame(await linesOf(['01234567', '89abc', 'def', 'ghi\nnext', '\n']), ['0123456789', 'next']);
  t.strictSame(await linesOf(['0123456789abc']), ['0123456789']);
});

t.test('a stream without a line end fills no memory', async t => {
  const stream = new PassThrough();
  const lines: string[] = [];
  readLines(stream, { onLine: line => lines.push(line) });
  const piece = 'x'.repeat(1024 * 1024);
  for (let n = 0; n < 64; n++) {
    stream.write(piece);
    await new Promise(resolve => setImmediate(resolve));
  }
  t.strictSame(
    lines.map(line => line.length),
    [65_536],
  );
});
