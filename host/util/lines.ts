/** Lines of a stream, each of a bounded length: what prints without a line end fills no memory. */
import type { Readable } from 'node:stream';

/** Far above what ip, nft and BIRD print in one line. */
const MOST_CHARACTERS = 64 * 1024;

export interface LineOptions {
  readonly onLine: (line: string) => void;
  /** Called once, after the last line; also when the stream failed or was destroyed. */
  readonly onEnd?: () => void;
  /** A longer line is cut there: its first part is a line, the rest of it is left out. */
  readonly mostCharacters?: number;
}

/** Give each line of `stream` to `onLine`, without its end; the last one may have none. */
export function readLines(stream: Readable, options: LineOptions): void {
  const { onLine, onEnd = () => {}, mostCharacters = MOST_CHARACTERS } = options;
  let rest = '';
  /** In the midst of a line whose first part was given. */
  let cut = false;
  const take = (line: string): void => {
    if (!cut) onLine(line.endsWith('\r') ? line.slice(0, -1) : line);
    cut = false;
  };
  stream.setEncoding('utf8');
  stream.on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop()!;
    for (const line of lines) take(line.slice(0, mostCharacters));
    if (cut) rest = '';
    if (rest.length <= mostCharacters) return;
    take(rest.slice(0, mostCharacters));
    cut = true;
    rest = '';
  });
  // An error is followed by the close; what it says is the owner's to tell.
  stream.on('error', () => {});
  stream.once('close', () => {
    if (rest !== '') take(rest);
    onEnd();
  });
}
