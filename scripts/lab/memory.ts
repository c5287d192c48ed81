/** What a process has in memory, as the kernel counts it. */
import { readFileSync } from 'node:fs';

/** In MB of 10^6 bytes. */
export interface MemoryFigures {
  /** Pages that it has, those that it shares with others counted whole. */
  readonly rss: number;
  /** Shared ones counted by their share. */
  readonly pss: number;
  readonly anonymous: number;
  /** Largest `rss` so far. */
  readonly peak: number;
}

/** @throws Error if there is no such process, or none that may be looked into */
export function memoryOf(pid: number): MemoryFigures {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const field = (text: string, name: string): number => {
    const kilobytes = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1];
    if (kilobytes === undefined) throw new Error(`/proc/${pid}: no ${name}`);
    return Math.round((Number(kilobytes) * 1024) / 1e5) / 10;
  };
  return {
    rss: field(rollup, 'Rss'),
    pss: field(rollup, 'Pss'),
    anonymous: field(rollup, 'Anonymous'),
    peak: field(status, 'VmHWM'),
  };
}
