/** `magmark status`: the daemon on one screen. */
import Table from 'cli-table3';
import type { StatusReply } from '../control/api.js';

export function statusText(status: StatusReply): string {
  const targets = new Table({
    head: ['stream', 'target', 'mark', 'addresses', 'state'],
    style: { head: [], border: [] },
  });
  for (const target of status.targets) {
    targets.push([
      target.stream,
      target.identifier,
      target.fwmark,
      target.ips.join(' '),
      target.pending ?? 'active',
    ]);
  }
  const queues = new Table({
    head: ['queue', 'packets', 'batches', 'waiting', 'dropped', 'reasons'],
    style: { head: [], border: [] },
  });
  for (const queue of status.queues) {
    const reasons = Object.entries(queue.reasons).map(([name, count]) => `${name} ${count}`);
    queues.push([queue.queue, queue.packets, queue.batches, queue.depth, queue.dropped, reasons.join(', ')]);
  }
  return [
    `magmark ${status.version}, pid ${status.pid}, since ${status.startedAt}`,
    `configuration ${status.configFile}, generation ${status.generation}, carrier ${status.carrier}, worker restarts ${status.workerRestarts}`,
    targets.toString(),
    queues.toString(),
    ...status.warnings.map(warning => `warning: ${warning}`),
    '',
  ].join('\n');
}
