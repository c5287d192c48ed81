/** The way to a file: every name on it whose change may make its path lead to another file. */
import { readlinkSync } from 'node:fs';
import { dirname, isAbsolute, join, resolve, sep } from 'node:path';

/** One step of the way. */
export interface Step {
  readonly directory: string;
  /** In the directory: of a directory, of a symbolic link, or of the file. */
  readonly name: string;
}

/** As the kernel has it (path_resolution(7)): more are a loop. */
const MOST_LINKS = 40;

/**
 * Each directory that `path` leads through, and the name in it that it takes; symbolic links are followed, one after the
 * other. It ends early where something is missing: the name that is missing is its last step.
 */
export function stepsTo(path: string): Step[] {
  const steps: Step[] = [];
  const ahead = namesOf(resolve(path));
  let directory: string = sep;
  for (let links = 0; ahead.length > 0; ) {
    const name = ahead.shift()!;
    if (name === '..') {
      directory = dirname(directory);
      continue;
    }
    steps.push({ directory, name });
    const target = linkTarget(join(directory, name));
    if (target === null) {
      directory = join(directory, name);
      continue;
    }
    if (++links > MOST_LINKS) break;
    if (isAbsolute(target)) directory = sep;
    ahead.unshift(...namesOf(target));
  }
  return steps;
}

const namesOf = (path: string): string[] => path.split(sep).filter(name => name !== '' && name !== '.');

/** null: it is no symbolic link, or not there. */
function linkTarget(path: string): string | null {
  try {
    return readlinkSync(path);
  } catch (error) {
    if (['EINVAL', 'ENOENT', 'ENOTDIR', 'EACCES', 'ELOOP'].includes((error as NodeJS.ErrnoException).code!))
      return null;
    throw error;
  }
}
