/** Colours, where somebody sees them: on a terminal, unless NO_COLOR (no-color.org) or TERM=dumb asks for none. */
import { stripVTControlCharacters, styleText } from 'node:util';

export type Color = 'green' | 'yellow' | 'red' | 'magenta';

export function hasColors(
  isTerminal: boolean = process.stdout.isTTY,
  { NO_COLOR, TERM }: NodeJS.ProcessEnv = process.env,
): boolean {
  return isTerminal && (NO_COLOR ?? '') === '' && TERM !== 'dumb';
}

export function painted(color: Color, text: string, seen: boolean = hasColors()): string {
  // Newer versions of Node ask stdout again, which is not needed; older ones do not know the option.
  return seen ? styleText(color, text, { validateStream: false }) : text;
}

const ESCAPE = '\x1b';

/** At most `columns` characters of one line are seen; its colours are closed where they were. */
export function cut(line: string, columns: number): string {
  if (stripVTControlCharacters(line).length <= columns) return line;
  let seen = 0;
  let isColor = false;
  let text = '';
  for (const character of line) {
    isColor ||= character === ESCAPE;
    if (isColor) text += character;
    else if (++seen <= columns) text += seen < columns ? character : '…';
    // The last character of what styleText writes.
    if (character === 'm') isColor = false;
  }
  return text;
}
