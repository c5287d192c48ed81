/** `magmark status`: the daemon on one screen. */
import Table from 'cli-table3';
import type { StatusReply } from '../control/api.js';

export function statusText(status: StatusReply): string {
  const style = { head: [], border: [] };
  const targets = new Table({
    head: ['stream', 'target', 'mark', 'addresses', 'state'],
    style,
  });
  for (const target of status.targets) {
    targets.push([
      target.stream,
      target.identifier,
      target.fwmark,
      target.ips.join(' '),
      target.pending ?? (target.health === null ? 'active' : `active, ${target.health}`),
    ]);
  }
  const queues = new Table({
    head: ['queue', 'packets', 'batches', 'waiting', 'dropped', 'reasons'],
    style,
  });
  for (const queue of status.queues) {
    const reasons = Object.entries(queue.reasons).map(([name, count]) => `${name} ${count}`);
    queues.push([queue.queue, queue.packets, queue.batches, queue.depth, queue.dropped, reasons.join(', ')]);
  }
  const gateways = new Table({ head: ['gateway', 'address', 'state', 'BFD', 'BIRD says'], style });
  for (const gateway of status.gateways)
    for (const { address, up, bfd, info } of gateway.sessions)
      gateways.push([`${gateway.name} (${gateway.protocol})`, address, up ? 'up' : 'down', bfd, info]);
  const vips = status.vips.map(vip => `${vip.prefix}${vip.announced ? '' : ' (withdrawn)'}`).join(', ');
  const { bird, repairs } = status;
  return [
    `magmark ${status.version}, pid ${status.pid}, since ${status.startedAt}`,
    `configuration ${status.configFile}, generation ${status.generation}, carrier ${status.carrier}, worker restarts ${status.workerRestarts}`,
    `VIPs ${vips}; BIRD ${bird.status}${bird.lastError === null ? '' : `, ${bird.restarts} restarts, last failure: ${bird.lastError}`}; ` +
      `mended ${repairs.count} times`,
    targets.toString(),
    ...(status.gateways.length === 0 ? [] : [gateways.toString()]),
    queues.toString(),
    ...status.warnings.map(warning => `warning: ${warning}`),
    '',
  ].join('\n');
}
