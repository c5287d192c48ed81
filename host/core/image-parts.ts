/** What an image is made of, by the configuration alone: its flows in their order, and what is counted by which name. */
import type { Config, Flow, Stream, Target } from '../types/config.js';
import type { CounterPlace } from './counters.js';
import type { FlowConditions, FlowRecord } from './flow-records.js';
import type { Core } from './wasm.js';

/** One flow as the core sees it: by priority; hidden ones find UDP-encapsulated SCTP. */
export interface ImageFlow {
  readonly name: string;
  readonly flow: Flow;
  /** Hidden flow of `flow.udpEncapPort`. */
  readonly hidden: boolean;
}

/** What a target keeps its counter by: a target that keeps its place goes on counting, whatever its address or mark. */
export function targetKey(stream: Stream, target: Target): string {
  return `${stream.name}/${target.identifier}`;
}

export function targetKeys(streams: readonly Stream[]): string[] {
  return streams.flatMap(stream => stream.targets.map(target => targetKey(stream, target)));
}

/** Flows in the order in which the core tries them, hidden ones before the flow they belong to. */
export function orderedFlows(config: Config): ImageFlow[] {
  return config.flows
    .toSorted((one, other) => other.priority - one.priority)
    .flatMap(flow => [
      ...(flow.udpEncapPort === null ? [] : [{ name: `#${flow.name}`, flow, hidden: true }]),
      { name: flow.name, flow, hidden: false },
    ]);
}

/** @param counterOf index of a flow's counter, by its name */
export function recordsOf(
  flows: readonly ImageFlow[],
  config: Config,
  counterOf: (name: string) => number,
): FlowRecord[] {
  const streams = new Map(config.streams.map(({ name }, index) => [name, index]));
  return flows.map(({ name, flow, hidden }) => {
    const encapPort = flow.udpEncapPort ?? 0;
    const found = { destinationPortRanges: [{ first: encapPort, last: encapPort }] };
    const conditions: FlowConditions = hidden
      ? { ...flow, ...found, protocols: ['udp'], sourcePortRanges: [], byteMatches: [] }
      : flow;
    return {
      conditions,
      stream: streams.get(flow.stream)!,
      counter: counterOf(name),
      encapPort: hidden ? encapPort : 0,
    };
  });
}

export function flowCounters({ Limit, Region }: Core): CounterPlace {
  return { region: Region.WorkerFlowCounters, first: 0, limit: Limit.Flows, what: 'flows' };
}

export function targetCounters({ Limit, Region }: Core): CounterPlace {
  // Packets without a target are counted in the first.
  return { region: Region.WorkerTargetCounters, first: 1, limit: Limit.TargetCounters, what: 'targets' };
}
