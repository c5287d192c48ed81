/** Metric families: a name, what it means, and its samples as a function of what was observed. */
import type { Observation } from './observation.js';

export type Labels = Readonly<Record<string, string | number>>;

export interface Sample {
  readonly labels: Labels;
  readonly value: number;
  /** Of a histogram's or summary's parts; default: the family's. */
  readonly metricName?: string;
}

export interface MetricFamily {
  /** By Prometheus' conventions: a base unit, `_total` for counters. */
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram' | 'summary';
  readonly samples: (observation: Observation) => readonly Sample[];
}

export function sample(value: number | boolean, labels: Labels = {}): Sample {
  return { labels, value: Number(value) };
}

/**
 * @param counts by bound, not added up; there may be one more, of what is above all bounds
 * @param sum    of all that was counted
 */
export function histogramSamples(
  name: string,
  labels: Labels,
  bounds: readonly number[],
  counts: readonly number[],
  sum: number,
): Sample[] {
  let count = 0;
  const buckets = bounds.map((bound, n) => {
    count += counts[n]!;
    return { metricName: `${name}_bucket`, labels: { ...labels, le: bound }, value: count };
  });
  count += counts[bounds.length] ?? 0;
  return [
    ...buckets,
    { metricName: `${name}_bucket`, labels: { ...labels, le: '+Inf' }, value: count },
    { metricName: `${name}_sum`, labels, value: sum },
    { metricName: `${name}_count`, labels, value: count },
  ];
}
