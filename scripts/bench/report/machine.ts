/** Where a measurement was made. */
import { readFileSync } from 'node:fs';
import { arch, availableParallelism, cpus, loadavg, release, totalmem, type } from 'node:os';
import { version } from '../../../host/version.js';

export interface Machine {
  readonly processor: string;
  readonly processors: number;
  readonly memoryGiB: number;
  readonly system: string;
  readonly node: string;
  readonly magmark: string;
  /** ISO 8601, UTC. */
  readonly at: string;
  /** Processes that wanted a processor, mean of the minute before the measurement. */
  readonly load: number;
}

export function thisMachine(): Machine {
  return {
    processor: cpus()[0]?.model.trim() ?? arch(),
    processors: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${distribution()}, ${type()} ${release()}`,
    node: process.version,
    magmark: version,
    at: new Date().toISOString(),
    load: loadavg()[0]!,
  };
}

/** os-release(5) */
function distribution(): string {
  const text = readFileSync('/etc/os-release', 'utf8');
  return /^PRETTY_NAME="?(.*?)"?$/m.exec(text)?.[1] ?? 'an unnamed system';
}
