/** Whether all marks of a configuration fit its `markMask`. */
import type { Stream } from '../types/config.js';
import { hexadecimal } from '../types/marks.js';
import type { Written } from './schema.js';

/** @returns one line for each mark, or range of marks, that has other bits than those of `markMask` */
export function checkMarkMask(written: Written, streams: readonly Stream[]): string[] {
  const { markMask } = written;
  const mask = hexadecimal(markMask);
  const fits = (bits: number) => (bits & ~markMask) === 0;
  const single = (['queueMark', 'noFlowFwmark', 'noTargetsFwmark'] as const).flatMap(key => {
    const mark = written[key];
    return mark === undefined || fits(mark)
      ? []
      : [`${key}: ${mark} (${hexadecimal(mark)}) does not fit markMask ${mask}`];
  });
  const ranges = streams.flatMap(({ fwmarkOffset, maxTargets }, index) => {
    const [first, last] = [fwmarkOffset + 1, fwmarkOffset + maxTargets];
    if (fits(bitsOf(first, last))) return [];
    const marks = `${first}-${last} (${hexadecimal(first)}-${hexadecimal(last)})`;
    return [`streams[${index}].fwmarkOffset: marks ${marks} do not fit markMask ${mask}`];
  });
  return [...single, ...ranges];
}

/** All bits that a number from `first` to `last` has. Below the highest bit in which these two differ, some number has each. */
function bitsOf(first: number, last: number): number {
  return last | (2 ** (32 - Math.clz32(first ^ last)) - 1);
}
