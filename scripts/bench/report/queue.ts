/** The report of bench:queue as sections. */
import { rowOf } from '../figures.js';
import { profileText, type QueueReport } from '../queue/report.js';
import type { Section } from './figure.js';

export function queueSections({ figures, profile, rounds, compiler }: QueueReport): Section[] {
  return [
    {
      title: 'Packets through one queue',
      method: [
        '`npm run bench:queue`: a sender, a balancer and a receiver in network namespaces; UDP of 64 bytes from 4,096 ports as fast as one thread writes it,',
        "counted at the receiver's interface; echo requests for latency, 1,000 a second, alone and among 49,000 packets of UDP; eight connections of TCP.",
        `Medians of ${rounds} rounds by turns. The programs in C (${compiler}, -O3) accept every packet with one mark and decide nothing.`,
        'Added latency is what plain forwarding of the same turn does not take; of p50 and p99 the median of many short turns, of p99.9 all turns together. Collections are those of the worker that `--trace-gc` tells.',
        ...(profile ? ["The profile is of magmark's worker under saturation, by perf."] : []),
      ].join('\n'),
      figures: figures.map(rowOf),
      plots: [],
      tables: profile ? [profileText(profile)] : [],
    },
  ];
}
