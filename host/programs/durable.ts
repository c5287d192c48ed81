/**
 * Files that outlive a loss of power: written whole beside their place, synced, renamed into it. Their directory may be one
 * that others can write to: the draft has a random name, and no link is followed.
 */
import { randomBytes } from 'node:crypto';
import { constants, type Stats } from 'node:fs';
import { type FileHandle, lstat, open, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { onFile } from './file.js';

const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = constants;
/** A draft that is so old was left by a process that was killed. */
const STALE_MS = 60_000;

/** Paths whose drafts of former processes are gone. */
const cleaned = new Set<string>();

/** Opens a draft; another one for tests. */
export type Open = (path: string, flags: number, mode: number) => Promise<FileHandle>;

/**
 * Put `text` in the place of the file at `path`, of `mode`: a reader finds the former text or this one. The
 * name itself is on the disk after `syncDirectory`.
 * @param noun what the file is, for messages: `journal`
 * @throws EnvironmentError naming the file; the one at `path` is then as it was
 */
export async function replaceSynced(
  noun: string,
  path: string,
  text: string,
  openDraft: Open = open,
  mode = 0o600,
): Promise<void> {
  const draft = `${path}.${randomBytes(6).toString('hex')}.new`;
  await onFile(`write ${noun}`, draft, () => writeSynced(draft, text, openDraft, mode));
  try {
    await onFile(`replace ${noun}`, path, () => rename(draft, path));
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
  if (cleaned.has(path)) return;
  cleaned.add(path);
  await removeStaleDrafts(noun, path);
}

async function writeSynced(path: string, text: string, openDraft: Open, mode: number): Promise<void> {
  const file = await openDraft(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode);
  try {
    // Whatever the umask is.
    await file.chmod(mode);
    await file.writeFile(text);
    await file.sync();
  } catch (error) {
    // What a full disk took of it would stay there.
    await rm(path, { force: true });
    throw error;
  } finally {
    await file.close();
  }
}

/** Of processes that were killed. */
async function removeStaleDrafts(noun: string, path: string): Promise<void> {
  const name = basename(path);
  const isDraft = (other: string): boolean =>
    other.startsWith(`${name}.`) && /^\.[0-9a-f]{12}\.new$/.test(other.slice(name.length));
  await onFile(`remove drafts of ${noun}`, path, async () => {
    for (const draft of (await readdir(dirname(path))).filter(isDraft)) {
      const at = join(dirname(path), draft);
      const found = await lstat(at).catch(nullIfGone);
      if (found !== null && isStale(found)) await rm(at, { force: true });
    }
  });
}

/** Another process puts its draft in place meanwhile: after a takeover, the one that leaves. */
function nullIfGone(error: NodeJS.ErrnoException): null {
  if (error.code !== 'ENOENT') throw error;
  return null;
}

function isStale(found: Stats): boolean {
  return found.isFile() && found.uid === process.geteuid?.() && Date.now() - found.mtimeMs > STALE_MS;
}

/** What was renamed or removed in the directory of `path` stays so. @throws EnvironmentError naming `path` */
export async function syncDirectory(noun: string, path: string): Promise<void> {
  await onFile(`sync the directory of ${noun}`, path, async () => {
    const directory = await open(dirname(path), 'r');
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  });
}
