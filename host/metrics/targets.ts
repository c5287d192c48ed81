/** Who gets packets: flows, streams and their targets. */
import { type MetricFamily, sample } from './family.js';

export const TARGET_FAMILIES: readonly MetricFamily[] = [
  {
    name: 'magmark_flow_matches_total',
    help: 'Packets that matched a flow; "#NAME" is the hidden flow of udpEncapPort.',
    type: 'counter',
    samples: ({ flows }) => flows.map(({ name, stream, matches }) => sample(matches, { flow: name, stream })),
  },
  {
    name: 'magmark_stream_table_slots',
    help: "Slots of a stream's Maglev table.",
    type: 'gauge',
    samples: ({ streams }) => streams.map(({ name, tableSize }) => sample(tableSize, { stream: name })),
  },
  {
    name: 'magmark_stream_active_targets',
    help: 'Targets of a stream that take traffic.',
    type: 'gauge',
    samples: ({ streams }) =>
      streams.map(({ name, targets }) =>
        sample(targets.filter(({ idle }) => idle === null).length, { stream: name }),
      ),
  },
  {
    name: 'magmark_stream_pending_targets',
    help: 'Targets of a stream that take no traffic, by the first reason: no route, link down, neighbour silent, health not known yet, unhealthy.',
    type: 'gauge',
    samples: ({ streams, idleCauses }) =>
      streams.flatMap(({ name, targets }) =>
        idleCauses.map(reason =>
          sample(targets.filter(({ idle }) => idle === reason).length, { stream: name, reason }),
        ),
      ),
  },
  {
    name: 'magmark_target_active',
    help: '1 while the target takes traffic.',
    type: 'gauge',
    samples: ({ streams }) =>
      streams.flatMap(({ name, targets }) =>
        targets.map(({ identifier, idle }) => sample(idle === null, { stream: name, target: identifier })),
      ),
  },
  {
    name: 'magmark_target_packets_total',
    help: 'Packets that a target was chosen for.',
    type: 'counter',
    samples: ({ streams }) =>
      streams.flatMap(({ name, targets }) =>
        targets.map(({ identifier, packets }) => sample(packets, { stream: name, target: identifier })),
      ),
  },
  {
    name: 'magmark_target_table_share_ratio',
    help: "Part of its stream's Maglev table that is a target's own.",
    type: 'gauge',
    samples: ({ streams }) =>
      streams.flatMap(({ name, tableSize, targets }) =>
        targets.map(({ identifier, slots }) =>
          sample(slots / tableSize, { stream: name, target: identifier }),
        ),
      ),
  },
];
