/**
 * Reads files that users name. A path may lead to anything: a FIFO that has no writer, an endless device, a mount whose
 * server is away. None of these blocks the caller, fills its memory, or keeps it for longer than a bound.
 */
import { type BigIntStats, constants } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';

export interface ReadOptions {
  /** A longer file is refused; this many bytes and one more are read at most. */
  readonly mostBytes: number;
  /** Only a file of root or of this user, and no symbolic link: its directory may be one that others can write to. */
  readonly own?: boolean;
  /** The file system has this long to answer; default 10,000. */
  readonly boundMs?: number;
  /** In place of the file system's own, for tests. */
  readonly files?: Files;
}

/** What is used of node:fs. */
export interface Files {
  stat(path: string): Promise<Pick<BigIntStats, 'isFile'>>;
  open(path: string, flags: number): Promise<FileHandle>;
}

const FILES: Files = { stat: path => stat(path, { bigint: true }), open };
const BOUND_MS = 10_000;
const PIECE_BYTES = 64 * 1024;
/** NONBLOCK: a FIFO opens at once. NOCTTY: a terminal does not become the process's own. */
const FLAGS = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;

/** Late reads by path, with their start. Each holds one of Node's four threads for files until the file system answers. */
const late = new Map<string, number>();

/** Paths whose reads are late: a process that ends in the ordinary way waits for their threads. */
export function lateReads(): string[] {
  return [...late.keys()];
}

/**
 * The text of the regular file at `path`, through symbolic links.
 * @throws Error: that of the file system with its `code`; or one that says what is there instead of a regular file, that it
 *   is too long, or that the file system does not answer
 */
export async function readRegularFile(path: string, options: ReadOptions): Promise<string> {
  const { boundMs = BOUND_MS } = options;
  const began = performance.now();
  const since = late.get(path);
  if (since !== undefined) {
    // A second one would take another thread, until none is left.
    throw new Error(`an earlier read of it has not ended for ${Math.round((began - since) / 1000)} s`);
  }
  const reading = readBounded(path, options).finally(() => late.delete(path));
  let timer: NodeJS.Timeout | undefined;
  const bound = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      late.set(path, began);
      reject(new Error(`the file system does not answer within ${boundMs / 1000} s`));
    }, boundMs);
  });
  try {
    return await Promise.race([reading, bound]);
  } finally {
    clearTimeout(timer);
  }
}

async function readBounded(
  path: string,
  { mostBytes, own = false, files = FILES }: ReadOptions,
): Promise<string> {
  // Before it is opened: opening some devices does something.
  refuseOther(await files.stat(path));
  const file = await files.open(path, own ? FLAGS | constants.O_NOFOLLOW : FLAGS).catch(refuseLink);
  try {
    // It may have been replaced meanwhile.
    const found = await file.stat();
    refuseOther(found);
    if (own) refuseForeign(found.uid);
    return await contents(file, mostBytes);
  } finally {
    await file.close();
  }
}

/** Until its end, whatever size it claims: files of /proc claim none. */
async function contents(file: FileHandle, mostBytes: number): Promise<string> {
  const pieces: Buffer[] = [];
  for (let bytes = 0; bytes <= mostBytes; ) {
    const piece = Buffer.allocUnsafe(Math.min(PIECE_BYTES, mostBytes + 1 - bytes));
    const { bytesRead } = await file.read(piece, 0, piece.length, null);
    if (bytesRead === 0) return Buffer.concat(pieces).toString('utf8');
    pieces.push(piece.subarray(0, bytesRead));
    bytes += bytesRead;
  }
  throw new Error(`it has more than ${mostBytes} bytes`);
}

function refuseLink(error: NodeJS.ErrnoException): never {
  if (error.code !== 'ELOOP') throw error;
  throw new Error('it is a symbolic link, and a regular file is needed', { cause: error });
}

function refuseForeign(uid: number): void {
  const user = process.geteuid?.();
  if (uid !== 0 && uid !== user)
    throw new Error(`it belongs to user ${uid}, neither to root nor to ${user}: it may be anything`);
}

function refuseOther(found: Pick<BigIntStats, 'isFile'>): void {
  if (!found.isFile()) throw new Error(`it is ${kindOf(found as BigIntStats)}, and a regular file is needed`);
}

function kindOf(found: BigIntStats): string {
  if (found.isFIFO()) return 'a FIFO';
  if (found.isDirectory()) return 'a directory';
  if (found.isSocket()) return 'a socket';
  if (found.isCharacterDevice()) return 'a character device';
  if (found.isBlockDevice()) return 'a block device';
  return 'of an unknown kind';
}

/** Standard input of any kind, until its end. @throws Error as `readRegularFile` does of one that is too long */
export async function readStandardInput(mostBytes: number): Promise<string> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of process.stdin as AsyncIterable<Buffer>) {
    bytes += piece.length;
    if (bytes > mostBytes) throw new Error(`it has more than ${mostBytes} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString('utf8');
}
