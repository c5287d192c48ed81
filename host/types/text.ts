/**
 * Text from outside (files, names, other programs) on its way into messages. It may be long, break a line, or steer a
 * terminal: C0 and C1 controls, DEL, and the format characters that reorder or hide what follows them.
 */

/** Characters of one value from outside that a message quotes at most: a message may quote several. */
export const MOST_SHOWN = 80;

const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;
const UNPRINTABLE_IN_LINES = /(?![\n\t])[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** As in JSON: in a text of JSON it means the same character. */
function escaped(character: string): string {
  const units = Array.from({ length: character.length }, (_, at) => character.charCodeAt(at));
  return units.map(unit => `\\u${unit.toString(16).padStart(4, '0')}`).join('');
}

/** One line that no terminal obeys. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, escaped);
}

/** Lines that no terminal obeys; tabs stay. */
export function printableLines(text: string): string {
  return text.replace(UNPRINTABLE_IN_LINES, escaped);
}

/** The begin of a text, and a sign that it goes on. */
export function cut(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most)}...`;
}

/** A value from outside, short enough to be quoted in a message. */
export function shown(text: string): string {
  return cut(text, MOST_SHOWN);
}
