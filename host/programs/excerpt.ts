/** Output of a program inside a message: short, and on one line. */

const LONGEST = 200;

export function excerpt(text: string): string {
  const line = JSON.stringify(text.trim().slice(0, LONGEST));
  return text.trim().length > LONGEST ? `${line} and more` : line;
}
