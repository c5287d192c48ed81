/** The report of bench:queue as sections. */
import { rowOf } from '../figures.js';
import type { Step } from '../queue/ladder.js';
import type { LatencyCurve } from '../queue/named.js';
import { ladderText, profileText, type QueueReport } from '../queue/report.js';
import type { Plot, Section } from './figure.js';

export function queueSections({ figures, profile, latencies, rounds, compiler }: QueueReport): Section[] {
  return [
    {
      title: 'Packets through one queue',
      method: [
        '`npm run bench:queue`: a sender, a balancer and a receiver in network namespaces; UDP of 64 bytes from 4,096 ports as fast as one thread writes it,',
        "counted at the receiver's interface; echo requests for latency, 1,000 a second, alone and among packets of UDP that make up the rate; eight connections of TCP.",
        `Medians of ${rounds} rounds by turns. The programs in C (${compiler}, -O3) accept every packet with one mark and decide nothing.`,
        'Added latency is what plain forwarding of the same turn does not take; of p50 and p99 the median of many short turns, of p99.9 all turns together. `C, again` is the program with one verdict a packet once more: by so much the machine alone makes a difference.',
        '`magmark, spin 50 us` has `queueSpinMicroseconds: 50` (`nfqlb flowlb --spin=50`): it does not sleep while packets come closer together. Collections are those of the worker that `--trace-gc` tells.',
        ...(profile ? ["The profile is of magmark's worker under saturation, by perf."] : []),
      ].join('\n'),
      figures: figures.map(rowOf),
      plots: latencies === undefined ? [] : [byRate(latencies)],
      tables: profile ? [profileText(profile)] : [],
    },
  ];
}

export function ladderSection({ ladder = [], rounds, compiler }: QueueReport): Section {
  return {
    title: 'The ladder of variants',
    method: [
      `\`npm run bench:queue -- --ladder\`: the program in C (${compiler}, -O3) with one setting changed at a time, each beside the first, by turns;`,
      `medians of ${rounds} rounds. magmark has what the first has. Ratios are of packets a second: ${fasterThanFirst(ladder)}.`,
    ].join('\n'),
    figures: ladder.map(({ axis, ratio }) => ({
      name: axis,
      value: ratio.median,
      unit: '',
      spread: [ratio.fastest, ratio.slowest],
      target: null,
    })),
    plots: [],
    tables: ladder.length === 0 ? [] : [ladderText(ladder)],
  };
}

/** A setting that was faster in every round is; one that was in some may have been so by chance. */
function fasterThanFirst(ladder: readonly Step[]): string {
  const faster = ladder.slice(1).filter(({ ratio }) => ratio.fastest > 1);
  return faster.length === 0
    ? 'no other was faster in every round'
    : `faster in every round: ${faster.map(({ axis }) => axis).join(', ')}`;
}

function byRate(latencies: readonly LatencyCurve[]): Plot {
  return {
    name: 'latency-by-rate',
    title: 'Added latency by the rate of packets',
    x: 'packets a second',
    y: 'microseconds added to plain forwarding',
    logarithmic: { x: true, y: false },
    curves: latencies.map(({ contestant, quantile, points }) => ({
      name: `${contestant}, ${quantile}`,
      points,
    })),
  };
}
