/** One observation for tests, with something of everything. */
import type { Observation } from '../../host/metrics/observation.js';

export function observationOf(more: Partial<Observation> = {}): Observation {
  return {
    version: '1.2.3',
    node: 'v20.0.0',
    carrier: 'nft',
    generation: 7,
    imageBytes: 4096,
    queues: [
      {
        queue: 3,
        bound: true,
        restarts: 2,
        decided: [
          { verdict: 'accept', reason: 'ok', packets: 10, bytes: 600 },
          { verdict: 'drop', reason: 'no-flow', packets: 3, bytes: 180 },
        ],
        batchSizes: [1, 2, 0, 1],
        decisions: { seconds: 0.000_002, packets: 9, counts: [1, 1, 1] },
        verdictErrors: 1,
        fragments: { tracked: 12, held: 5 },
        fragmentsHeld: 2,
        kernel: { depth: 4, queueDropped: 5, userDropped: 6 },
      },
      {
        queue: 4,
        bound: false,
        restarts: 0,
        decided: [],
        batchSizes: [0, 0, 0, 0],
        decisions: { seconds: 0, packets: 0, counts: [0, 0, 0] },
        verdictErrors: 0,
        fragments: { tracked: 0, held: 0 },
        fragmentsHeld: 0,
        kernel: null,
      },
    ],
    batchBounds: [1, 2, 4, 8],
    decisionBounds: [2.56e-7, 5.12e-7],
    flows: [{ name: 'web', stream: 'a', matches: 10 }],
    streams: [
      {
        name: 'a',
        tableSize: 100,
        targets: [
          { identifier: 1, packets: 10, slots: 100, idle: null },
          { identifier: 2, packets: 0, slots: 0, idle: 'link' },
        ],
      },
    ],
    idleCauses: ['route', 'link'],
    rebuilds: { count: 2, seconds: 0.5 },
    looks: { count: 9, failed: 1, repairs: 4 },
    reloads: { succeeded: 3, refused: 1, lastSucceeded: false, lastSuccessAt: 1_700_000_000.5 },
    bird: { wanted: true, up: true, restarts: 1 },
    sessions: [
      { gateway: 'g', address: '169.254.100.150', family: 4, protocol: 'bgp', up: true, bfdUp: false },
      { gateway: 'g', address: '100:100::150', family: 6, protocol: 'bgp', up: false, bfdUp: null },
    ],
    vips: [{ prefix: '20.0.0.1/32', announced: true }],
    passage: { dropped: { 4: 7, 6: 8 }, left: 9, lost: 2 },
    foreignRules: [{ hook: 'forward', effect: 'drop', count: 2 }],
    warnings: 1,
    internalErrors: 2,
    logLinesDropped: 3,
    ...more,
  };
}
