/** Files that outlive a loss of power: written whole beside their place, synced, renamed into it. */
import { open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { onFile } from './file.js';

/**
 * Put `text` in the place of the file at `path`, of `mode`: whoever reads it finds the former text or this one. The
 * name itself is on the disk after `syncDirectory`.
 * @param noun what the file is, for messages: `journal`
 * @throws EnvironmentError naming the file; the one at `path` is then as it was
 */
export async function replaceSynced(noun: string, path: string, text: string, mode = 0o600): Promise<void> {
  const draft = `${path}.new`;
  await onFile(`write ${noun}`, draft, () => writeSynced(draft, text, mode));
  await onFile(`replace ${noun}`, path, () => rename(draft, path));
}

async function writeSynced(path: string, text: string, mode: number): Promise<void> {
  const file = await open(path, 'w', mode);
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
