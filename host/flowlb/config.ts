/** The configuration that follows from what was told. Pure. */
import type { Config, HashMode } from '../types/config.js';
import { QUEUE_MARK, WHOLE_MARK } from '../types/marks.js';
import type { State } from './state.js';

/** What the command line of `nfqlb flowlb` settles. */
export interface Settings {
  readonly queues: { readonly first: number; readonly last: number };
  readonly queueLength: number;
  readonly queueSpinMicroseconds: number;
  readonly fragmentTimeoutMs: number;
  /** Fragments that a queue holds at most. */
  readonly mostHeld: number;
  readonly hashMode: HashMode;
  readonly promiscuousPing: boolean;
  /** null: dropped. */
  readonly noFlowFwmark: number | null;
  /** null: dropped. */
  readonly noTargetsFwmark: number | null;
}

/** Nothing of the kernel is wanted; VIPs are the business of who steers packets into the queues. */
export function configOf({ memories, flows }: State, settings: Settings): Config {
  return {
    ...settings,
    queueMark: QUEUE_MARK,
    markMask: WHOLE_MARK,
    fragments: 'track',
    interfaces: { external: null, internal: [] },
    vips: [],
    gateways: [],
    ecmp: false,
    routerId: null,
    portNats: [],
    streams: memories.map(({ name, maxTargets, tableSize, marks }) => ({
      name,
      maxTargets,
      tableSize,
      // Marks are free here: each target has its own.
      fwmarkOffset: 0,
      targets: [...marks].map(([index, fwmark]) => ({ identifier: index + 1, fwmark, ips: [] })),
      healthCheck: null,
    })),
    flows,
    shutdownDelayMs: 0,
    rulesetFile: null,
    metrics: null,
  };
}
