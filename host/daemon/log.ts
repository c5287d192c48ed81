/** Structured logs: one JSON object a line on stderr, with a level. */
import { type Logger, pino } from 'pino';

export type Log = Logger;

export function createLog(level: string): Log {
  return pino(
    {
      level,
      base: { pid: process.pid },
      formatters: { level: label => ({ level: label }) },
      timestamp: pino.stdTimeFunctions.isoTime,
    },
    pino.destination({ fd: 2, sync: true }),
  );
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
