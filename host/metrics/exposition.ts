/** The text that Prometheus reads. The only file that imports prom-client. */
import { type Metric, Registry } from 'prom-client';
import type { MetricFamily } from './family.js';
import type { Observation } from './observation.js';
import { PACKET_FAMILIES } from './packets.js';
import { PROCESS_FAMILIES } from './process.js';
import { STATE_FAMILIES } from './state.js';
import { TARGET_FAMILIES } from './targets.js';

export const FAMILIES: readonly MetricFamily[] = [
  ...PACKET_FAMILIES,
  ...TARGET_FAMILIES,
  ...STATE_FAMILIES,
  ...PROCESS_FAMILIES,
];

export const CONTENT_TYPE = Registry.PROMETHEUS_CONTENT_TYPE;

/**
 * Numbers live where they are counted, in the workers' memory and the daemon: a metric here is no second counter but a
 * function of what is observed, called at a scrape. That is all that prom-client's registry asks of a metric.
 */
export async function exposition(observation: Observation): Promise<string> {
  const registry = new Registry();
  for (const { name, help, type, samples } of FAMILIES) {
    const get = async () => ({ name, help, type, values: samples(observation) });
    registry.registerMetric({ name, get } as unknown as Metric);
  }
  return registry.metrics();
}
