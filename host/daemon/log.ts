/** Structured logs: one JSON object a line on stderr, with a level. A line that repeats is collapsed; none holds up the daemon. */
import { type Logger, pino } from 'pino';
import { printableLines } from '../types/text.js';
import { LogSink } from '../util/log-sink.js';
import { RepeatedLines, repeatedText } from '../util/repeated.js';

export type Log = Logger;

/** The answer to somebody's request each: it is never left out. */
const ANSWERS: ReadonlySet<unknown> = new Set(['reload refused']);

/** A warning or an error, as it was logged. */
interface Line {
  readonly log: Log;
  readonly level: number;
  readonly fields: object;
  readonly message: string;
}

/** Of this process: stderr. */
let sink: LogSink | null = null;

export function createLog(level: string): Log {
  /** Equal ones come once in each window. */
  let isSummary = false;
  const repeated = new RepeatedLines<Line>({
    summarize: ({ log, level: number, fields, message }, count, windowMs) => {
      const label = pino.levels.labels[number] as 'warn' | 'error';
      isSummary = true;
      log[label]({ ...fields, count }, `${message}: ${repeatedText(count, windowMs)}`);
      isSummary = false;
    },
  });
  const first = sink === null;
  sink ??= new LogSink(2, {
    onDropped: dropped => log.warn({ dropped }, 'the reader of the log did not read: lines were dropped'),
  });
  const log: Log = pino(
    {
      level,
      base: { pid: process.pid },
      formatters: { level: label => ({ level: label }) },
      timestamp: pino.stdTimeFunctions.isoTime,
      hooks: {
        // JSON leaves C1 controls and format characters as they are.
        streamWrite: printableLines,
        logMethod(inputs, method, number) {
          const line = isSummary ? null : lineOf(inputs as unknown[], this, number);
          if (line === null || repeated.admit(keyOf(line), line)) method.apply(this, inputs);
        },
      },
    },
    sink,
  );
  if (first) {
    process.on('exit', () => {
      repeated.flush();
      sink?.flush();
    });
  }
  return log;
}

/** What became of lines that found no reader. */
export function logLosses(): { readonly dropped: number; readonly isStuck: boolean } {
  return { dropped: sink?.dropped ?? 0, isStuck: sink?.isStuck ?? false };
}

/** null: it is logged however often it comes. */
function lineOf(inputs: readonly unknown[], log: Log, level: number): Line | null {
  const [fields, message] = typeof inputs[0] === 'string' ? [{}, inputs[0]] : [inputs[0], inputs[1]];
  const collapses = level === pino.levels.values.warn || level === pino.levels.values.error;
  if (!collapses || ANSWERS.has(message) || typeof message !== 'string') return null;
  return { log, level, fields: fields as object, message };
}

function keyOf({ level, fields, message }: Line): string {
  const plain = (_: string, value: unknown): unknown => (value instanceof Error ? value.message : value);
  return `${level} ${message} ${JSON.stringify(fields, plain)}`;
}

/** syslog's numbers, as nfqlb has them, and pino's levels for them. */
const SYSLOG: readonly (readonly [least: number, level: string])[] = [
  [7, 'debug'],
  [5, 'info'],
  [4, 'warn'],
  [3, 'error'],
  [0, 'fatal'],
];

/** pino's level for syslog's number. */
export function levelOfSyslog(number: number): string {
  return SYSLOG.find(([least]) => number >= least)![1];
}

/** syslog's number for pino's level. */
export function syslogLevel(level: string): number {
  return SYSLOG.find(([, name]) => name === level)?.[0] ?? (level === 'trace' ? 7 : 0);
}
