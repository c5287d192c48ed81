/** A peer behind a link, fragments from it, and a pool that they are queued for: for tests inside a namespace of their own. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { fragmentCounts, reasonCounts } from '../../host/core/counters.js';
import { createImages } from '../../host/core/create.js';
import { WorkerPool } from '../../host/queue/pool.js';
import { configOf, flowOf, streamOf } from '../fixture/config.js';
import { fragmentOf, piecesOf } from '../fixture/fragment.js';
import { UDP } from '../fixture/packet.js';
import { wirePacket } from '../fixture/wire.js';
import { run } from './namespace.js';

export const PEER = '10.9.0.2';
export const HOST = '10.9.0.1';
export const PORT = 7000;
export const QUEUES = { first: 0, last: 0 };
/** Nothing runs out unless a test waits for it. */
const LONG_MS = 600_000;
const RAW = fileURLToPath(new URL('../../../test/end-to-end/raw.py', import.meta.url));

/** A peer of its own, so that fragments come over a link as they are: what this host sends to itself it puts together. */
export function layLink(): void {
  run('ip', 'link', 'add', 'here', 'type', 'veth', 'peer', 'name', 'there');
  for (const name of ['here', 'there']) run('ip', 'link', 'set', name, 'up');
  run('ip', 'addr', 'add', `${HOST}/24`, 'dev', 'here');
  knowNeighbour();
  const match = ['-i', 'here', '-p', 'udp'];
  run('iptables-nft', '-t', 'mangle', '-A', 'PREROUTING', ...match, '-j', 'NFQUEUE', '--queue-num', '0');
  // Each mark is counted behind the queue, and nothing reaches a socket.
  for (const mark of ['5001', '6001'])
    run('iptables-nft', '-t', 'mangle', '-A', 'INPUT', '-m', 'mark', '--mark', mark);
  run('iptables-nft', '-t', 'raw', '-A', 'PREROUTING', '-i', 'there', '-j', 'DROP');
}

/** A link that was down has forgotten whom it leads to. */
export function knowNeighbour(): void {
  const hardware = run('cat', '/sys/class/net/here/address').trim();
  run('ip', 'neigh', 'replace', HOST, 'lladdr', hardware, 'dev', 'there', 'nud', 'permanent');
}

/** One stream with one target, or without any. */
export const config = (mark: number | null) =>
  configOf({
    streams: [streamOf('s', 1, mark === null ? {} : { 1: mark })],
    flows: [flowOf('f', 's', { protocols: ['udp'], destinationPortRanges: [{ first: PORT, last: PORT }] })],
  });

let identification = 100;

/** A datagram in three fragments, or of so many bytes, the first one first. */
export function datagram(bytes = 88, size = 32): Uint8Array[] {
  const whole = wirePacket(UDP, PEER, 999, HOST, PORT, new Array<number>(bytes).fill(1));
  const id = identification++;
  return piecesOf(bytes + 8, size).map(piece => fragmentOf(whole, piece, id));
}

export function send(...packets: readonly Uint8Array[]): void {
  const input = packets.map(packet => `${Buffer.from(packet).toString('hex')}\n`).join('');
  const { status, stderr } = spawnSync('python3', [RAW, 'send', 'there', HOST], { input, encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
}

interface StartOptions {
  readonly queueLength?: number;
  readonly timeoutMs?: number;
  readonly threads?: Worker[];
  readonly onFailure?: (queue: number, cause: Error) => void;
}

export async function start(options: StartOptions = {}) {
  const { images, module } = createImages(QUEUES);
  images.publish(config(5001));
  const pool = await WorkerPool.start({
    core: { module, memory: images.memory },
    queues: QUEUES,
    queueLength: options.queueLength ?? 1024,
    fragments: { timeoutMs: options.timeoutMs ?? LONG_MS },
    onFailure: options.onFailure ?? (() => {}),
    spawn: (...parameters) => {
      const thread = new Worker(...parameters);
      options.threads?.push(thread);
      return thread;
    },
  });
  const counts = () => fragmentCounts(images.core, images.memory, 0);
  const depth = () => pool.statistics()[0]!.kernel!.depth;
  /** Packets that were dropped for this reason. */
  const dropped = (reason: 'FragmentWithoutFirst' | 'NoTarget') =>
    reasonCounts(images.core, images.memory, 0)[images.core.Reason[reason]]!;
  return { images, pool, counts, depth, dropped };
}
