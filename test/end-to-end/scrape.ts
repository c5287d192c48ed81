/** HTTP requests from within the load balancer's namespace. */
import type { Judgement } from '../../host/types/health.js';
import type { Topology } from '../../scripts/lab/topology.js';
import { type ReadFamily, readExposition } from '../metrics/exposition-reader.js';
import { inLoadBalancer } from './lab.js';

export interface HttpAnswer {
  /** 0: nobody listens. */
  readonly status: number;
  readonly text: string;
}

const PROGRAM = `
fetch(process.argv[1], { signal: AbortSignal.timeout(10000) })
  .then(async answer => ({ status: answer.status, text: await answer.text() }))
  .catch(error => {
    if (error.cause?.code !== 'ECONNREFUSED') throw error;
    return { status: 0, text: '' };
  })
  .then(answer => console.log(JSON.stringify(answer)));`;

/** @param url for example http://127.0.0.1:9273/metrics */
export async function get(topology: Topology, url: string): Promise<HttpAnswer> {
  return JSON.parse(await inLoadBalancer(topology, 'node', '-e', PROGRAM, url)) as HttpAnswer;
}

/** @param base for example http://127.0.0.1:9273 */
export async function scrape(topology: Topology, base: string): Promise<Map<string, ReadFamily>> {
  const { status, text } = await get(topology, `${base}/metrics`);
  if (status !== 200) throw new Error(`${base}/metrics answered ${status}: ${text}`);
  return readExposition(text);
}

export async function judged(
  topology: Topology,
  url: string,
): Promise<{ status: number; judgement: Judgement }> {
  const { status, text } = await get(topology, url);
  return { status, judgement: JSON.parse(text) as Judgement };
}
