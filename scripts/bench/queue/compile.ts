/** The benchmark's programs in C, compiled for this machine into `dist/bench/`. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { EnvironmentError } from '../../../host/types/errors.js';

const SOURCES = fileURLToPath(new URL('../../../../scripts/bench/queue/', import.meta.url));
const FOLDER = fileURLToPath(new URL('../../../bench/', import.meta.url));

export const PROGRAMS = ['queue', 'flood', 'roundtrip', 'stream'] as const;
export type Program = (typeof PROGRAMS)[number];

export interface Compiled {
  /** Paths. */
  readonly programs: Readonly<Record<Program, string>>;
  /** What the compiler calls itself. */
  readonly compiler: string;
}

/** @throws EnvironmentError if there is no C compiler, or it refuses */
export function compile(): Compiled {
  mkdirSync(FOLDER, { recursive: true });
  try {
    const paths = PROGRAMS.map(name => {
      const path = join(FOLDER, name);
      // Another run may be using the former one.
      const draft = `${path}.${process.pid}`;
      const words = ['-O3', '-std=gnu11', '-Wall', '-Wextra', '-Werror', '-o', draft];
      execFileSync('cc', [...words, join(SOURCES, `${name}.c`)], { encoding: 'utf8', stdio: 'pipe' });
      renameSync(draft, path);
      return [name, path] as const;
    });
    const [compiler = 'cc'] = execFileSync('cc', ['--version'], { encoding: 'utf8' }).split('\n');
    return { programs: Object.fromEntries(paths) as Record<Program, string>, compiler };
  } catch (error) {
    throw new EnvironmentError(`cc -O3 in ${SOURCES} failed: ${(error as Error).message}`);
  }
}
