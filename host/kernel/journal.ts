/**
 * The journal: our claims in one JSON file, so that a start after SIGKILL knows what is its own to repair and remove.
 * It is written whole and synced before each change of the kernel, and it is gone when nothing of ours is left.
 */
import { readFile, rename, rm } from 'node:fs/promises';
import { replaceSynced, syncDirectory } from '../programs/durable.js';
import { onFile } from '../programs/file.js';
import { EnvironmentError } from '../types/errors.js';
import { readRegularFile } from '../util/regular-file.js';
import { type Claims, claimsNothing, NO_CLAIMS } from './claims.js';

/** Which network namespace: its inode number alone is given to another one later, also within one boot. */
export interface NamespaceIdentity {
  /** /proc/sys/kernel/random/boot_id */
  readonly bootId: string;
  /** Unique among the namespaces of one boot: SO_NETNS_COOKIE, or the like. */
  readonly cookie: string;
}

/** 10,000 targets of two families have 3 MB. */
const MOST_BYTES = 64 * 1024 * 1024;

interface Contents {
  readonly version: 1;
  readonly identity: NamespaceIdentity;
  readonly claims: Claims;
}

/** @throws EnvironmentError */
export async function readBootId(): Promise<string> {
  const path = '/proc/sys/kernel/random/boot_id';
  return (await onFile('read', path, () => readFile(path, 'utf8'))).trim();
}

export class Journal {
  /** The file's text; empty: there is none. */
  private written: string;
  /** False while the directory may still hold the former file after a loss of power. */
  private durable = true;

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
   * @throws EnvironmentError naming the file if it cannot be read, understood or set aside: what it claims would be left
   *   for ever
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
      await onFile(`set aside as ${aside} the journal`, path, () => rename(path, aside));
      await syncDirectory('journal', path);
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

  /**
   * Make `claims` the journal's contents; on return they are on the disk.
   * @throws EnvironmentError; `claims` of this object are then what the file holds, the former or these
   */
  async write(claims: Claims): Promise<void> {
    // A text of thousands of claims takes a while to make.
    if (claims === this.current && this.durable) return;
    const text = claimsNothing(claims) ? '' : this.text(claims);
    if (text !== this.written) {
      if (text === '') {
        // It may be gone already, by another hand.
        await onFile('remove journal', this.path, () => rm(this.path, { force: true }));
      } else {
        await replaceSynced('journal', this.path, text);
      }
      this.written = text;
      this.durable = false;
    }
    this.current = claims;
    if (!this.durable) {
      await syncDirectory('journal', this.path);
      this.durable = true;
    }
  }

  private text(claims: Claims): string {
    const contents: Contents = { version: 1, identity: this.identity, claims };
    return `${JSON.stringify(contents)}\n`;
  }
}

async function readContents(path: string): Promise<Contents | null> {
  try {
    return checked(JSON.parse(await readRegularFile(path, { mostBytes: MOST_BYTES, own: true })));
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
const orAbsent =
  (check: Check): Check =>
  value =>
    value === undefined || check(value);
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
    mangle: listOf(record({ family: isFamily, created: isBoolean, marks: orAbsent(listOf(isNumber)) })),
    rules: listOf(
      record({
        family: isFamily,
        priority: isNumber,
        fwmark: orNull(record({ value: isNumber, mask: isNumber })),
        from: orNull(isText),
        // Versions before this key made no rule with a destination.
        to: orAbsent(orNull(isText)),
        table: orNull(isNumber),
        goto: orAbsent(isNumber),
        unreachable: orAbsent(value => value === true),
      }),
    ),
    routes: listOf(record({ family: isFamily, table: isNumber })),
  }),
});

function checked(value: unknown): Contents {
  if (!isContents(value)) {
    throw new Error('not a journal of this version');
  }
  const { claims, ...contents } = value as Contents;
  return {
    ...contents,
    claims: { ...claims, rules: claims.rules.map(rule => ({ ...rule, to: rule.to ?? null })) },
  };
}
