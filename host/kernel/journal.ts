/**
 * The journal: our claims in one JSON file, so that a start after SIGKILL knows what is its own to repair and remove.
 * It is written whole and synced before each change of the kernel, and it is gone when nothing of ours is left.
 */
import { open, readFile, rename, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { EnvironmentError } from '../types/errors.js';
import { type Claims, claimsNothing, NO_CLAIMS } from './claims.js';

/** Which network namespace: its inode number alone is given to another one later, also within one boot. */
export interface NamespaceIdentity {
  /** /proc/sys/kernel/random/boot_id */
  readonly bootId: string;
  /** Unique among the namespaces of one boot: SO_NETNS_COOKIE, or the like. */
  readonly cookie: string;
}

interface Contents {
  readonly version: 1;
  readonly identity: NamespaceIdentity;
  readonly claims: Claims;
}

export async function readBootId(): Promise<string> {
  return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
}

export class Journal {
  private written: string;

  private constructor(
    private readonly path: string,
    private readonly identity: NamespaceIdentity,
    private current: Claims,
  ) {
    this.written = claimsNothing(current) ? '' : this.text(current);
  }

  /**
   * Read the journal at `path`; none there: no claims. One of another namespace claims nothing here and is set aside as
   * `path.other-namespace`, which `warn` is told.
   * @throws EnvironmentError naming the file if it cannot be read or understood: what it claims would be left for ever
   */
  static async open(
    path: string,
    identity: NamespaceIdentity,
    warn: (message: string) => void,
  ): Promise<Journal> {
    const contents = await readContents(path);
    if (contents === null) {
      return new Journal(path, identity, NO_CLAIMS);
    }
    if (contents.identity.bootId !== identity.bootId || contents.identity.cookie !== identity.cookie) {
      const aside = `${path}.other-namespace`;
      await rename(path, aside);
      await syncDirectory(path);
      warn(
        `journal ${path} is of another network namespace or boot: its claims do not count, it is now ${aside}`,
      );
      return new Journal(path, identity, NO_CLAIMS);
    }
    return new Journal(path, identity, contents.claims);
  }

  get claims(): Claims {
    return this.current;
  }

  /** Make `claims` the journal's contents; on return they are on the disk. */
  async write(claims: Claims): Promise<void> {
    const text = claimsNothing(claims) ? '' : this.text(claims);
    if (text !== this.written) {
      if (text === '') {
        await unlink(this.path);
      } else {
        await writeSynced(`${this.path}.new`, text);
        await rename(`${this.path}.new`, this.path);
      }
      await syncDirectory(this.path);
      this.written = text;
    }
    this.current = claims;
  }

  private text(claims: Claims): string {
    const contents: Contents = { version: 1, identity: this.identity, claims };
    return `${JSON.stringify(contents, null, 1)}\n`;
  }
}

async function writeSynced(path: string, text: string): Promise<void> {
  const file = await open(path, 'w', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(dirname(path), 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

async function readContents(path: string): Promise<Contents | null> {
  try {
    return checked(JSON.parse(await readFile(path, 'utf8')));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
      return null;
    }
    throw new EnvironmentError(
      `journal ${path}: ${(error as Error).message}; it says what an earlier run left in the kernel: ` +
        'mend it, or remove those rules, routes and tables by hand and then the file',
      { cause: error },
    );
  }
}

type Check = (value: unknown) => boolean;

const isNumber: Check = value => Number.isSafeInteger(value) && (value as number) >= 0;
const isText: Check = value => typeof value === 'string';
const isFamily: Check = value => value === 4 || value === 6;
const isBoolean: Check = value => typeof value === 'boolean';
const orNull =
  (check: Check): Check =>
  value =>
    value === null || check(value);
const listOf =
  (check: Check): Check =>
  value =>
    Array.isArray(value) && value.every(check);
const record =
  (checks: Readonly<Record<string, Check>>): Check =>
  value =>
    typeof value === 'object' &&
    value !== null &&
    Object.entries(checks).every(([key, check]) => check((value as Record<string, unknown>)[key]));

const isContents = record({
  version: value => value === 1,
  identity: record({ bootId: isText, cookie: isText }),
  claims: record({
    tables: listOf(isText),
    mangle: listOf(record({ family: isFamily, created: isBoolean })),
    rules: listOf(
      record({
        family: isFamily,
        priority: isNumber,
        fwmark: orNull(record({ value: isNumber, mask: isNumber })),
        from: orNull(isText),
        table: orNull(isNumber),
      }),
    ),
    routes: listOf(record({ family: isFamily, table: isNumber })),
  }),
});

function checked(value: unknown): Contents {
  if (!isContents(value)) {
    throw new Error('not a journal of this version');
  }
  return value as Contents;
}
