/** The kernel's own view of the queues of this network namespace. */
import { readFileSync } from 'node:fs';

const QUEUES = '/proc/self/net/netfilter/nfnetlink_queue';

/** One bound queue; counters since it was bound. */
export interface KernelQueue {
  readonly queue: number;
  /** Netlink port id of the socket that holds it. */
  readonly portId: number;
  /** Packets without a verdict. */
  readonly depth: number;
  readonly copyRange: number;
  /** Packets dropped since the queue was at its length. */
  readonly queueDropped: number;
  /** Packets dropped since they did not fit the socket's receive buffer. */
  readonly userDropped: number;
}

/**
 * Parse the kernel's list, one line a queue: number, port id, depth, copy mode, copy range, queue dropped, user dropped,
 * last packet id, 1. Source: seq_show in net/netfilter/nfnetlink_queue.c.
 */
export function parseQueues(text: string): KernelQueue[] {
  return text
    .split('\n')
    .filter(line => line.trim() !== '')
    .map(line => {
      const columns = line.trim().split(/\s+/).map(Number);
      if (columns.length < 7 || columns.some(Number.isNaN)) {
        throw new TypeError(`${QUEUES} has a line that is no list of numbers: "${line}"`);
      }
      const [queue, portId, depth, , copyRange, queueDropped, userDropped] = columns;
      return {
        queue: queue!,
        portId: portId!,
        depth: depth!,
        copyRange: copyRange!,
        queueDropped: queueDropped!,
        userDropped: userDropped!,
      };
    });
}

/** The bound queues; none where the kernel has no NFQUEUE. */
export function readQueues(): KernelQueue[] {
  try {
    return parseQueues(readFileSync(QUEUES, 'utf8'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
