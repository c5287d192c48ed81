/** What a reader wants, in words: nfqlb's flow syntax, for example `dsts=20.0.0.1/32,2000::1/128&dports=4000-4003`. */
import { parsePrefix } from '../config/address.js';
import { parseByteMatch } from '../config/byte-match.js';
import { parsePortRange } from '../config/range.js';
import type { Protocol } from '../types/config.js';
import { ConfigError } from '../types/errors.js';
import type { TraceFlow } from '../types/trace.js';

/** Each a list with commas; absent: any. */
export const CONDITIONS = ['protocols', 'dsts', 'srcs', 'dports', 'sports', 'match'] as const;
export type WrittenConditions = Readonly<Partial<Record<(typeof CONDITIONS)[number], string>>>;

const PROTOCOLS: readonly string[] = ['tcp', 'udp', 'sctp'] satisfies Protocol[];

/** @throws ConfigError with one line per fault */
export function parseTraceFlow(name: string, written: WrittenConditions): TraceFlow {
  const faults: string[] = [];
  const list = <Value>(key: keyof WrittenConditions, parse: (text: string) => Value | string): Value[] =>
    (written[key] ?? '')
      .split(',')
      .filter(text => text !== '')
      .flatMap(text => {
        const value = parse(text.trim());
        if (typeof value !== 'string') return [value];
        faults.push(`${key}: ${value}`);
        return [];
      });
  const protocols = list('protocols', text => {
    const name = text.toLowerCase();
    return PROTOCOLS.includes(name)
      ? { text: name as Protocol }
      : `${text} is none of ${PROTOCOLS.join(', ')}`;
  });
  const flow: TraceFlow = {
    name,
    protocols: protocols.map(({ text }) => text),
    vips: list('dsts', parsePrefix),
    sourceSubnets: list('srcs', parsePrefix),
    destinationPortRanges: list('dports', parsePortRange),
    sourcePortRanges: list('sports', parsePortRange),
    byteMatches: list('match', parseByteMatch),
  };
  if (faults.length > 0) throw new ConfigError(faults);
  return flow;
}
