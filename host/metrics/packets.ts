/** What happens to packets: by queue, verdict and reason, and how long it takes. */
import { histogramSamples, type MetricFamily, sample } from './family.js';
import type { Observation, QueueObservation } from './observation.js';

/** The kernel's numbers of queues that are bound. */
function ofKernel(
  { queues }: Observation,
  read: (
    kernel: NonNullable<QueueObservation['kernel']>,
  ) => readonly (readonly [cause: string, value: number])[],
) {
  return queues.flatMap(({ queue, kernel }) =>
    kernel === null ? [] : read(kernel).map(([cause, value]) => ({ queue, cause, value })),
  );
}

const BATCHES = 'magmark_batch_packets';
const DECISIONS = 'magmark_batch_decision_seconds';

export const PACKET_FAMILIES: readonly MetricFamily[] = [
  {
    name: 'magmark_guard_dropped_packets_total',
    help: 'Packets to a VIP that were dropped since they had none of our marks; read every 10 s.',
    type: 'counter',
    samples: ({ passage: { dropped } }) => [
      sample(dropped[4], { family: 'ipv4' }),
      sample(dropped[6], { family: 'ipv6' }),
    ],
  },
  {
    name: 'magmark_left_packets_total',
    help: "Packets to a VIP that left this host with a target's mark; read every 10 s.",
    type: 'counter',
    samples: ({ passage: { left } }) => [sample(left)],
  },
  {
    name: 'magmark_lost_packets_total',
    help: "Packets to a VIP that got a target's mark and did not leave this host, where they are more than usual.",
    type: 'counter',
    samples: ({ passage: { lost } }) => [sample(lost)],
  },
  {
    name: 'magmark_packets_total',
    help: 'Packets that were decided, by verdict and reason.',
    type: 'counter',
    samples: ({ queues }) =>
      queues.flatMap(({ queue, decided }) =>
        decided.map(({ verdict, reason, packets }) => sample(packets, { queue, verdict, reason })),
      ),
  },
  {
    name: 'magmark_packet_bytes_total',
    help: 'Bytes on the wire of packets that were decided, by verdict and reason.',
    type: 'counter',
    samples: ({ queues }) =>
      queues.flatMap(({ queue, decided }) =>
        decided.map(({ verdict, reason, bytes }) => sample(bytes, { queue, verdict, reason })),
      ),
  },
  {
    name: BATCHES,
    help: 'Packets of one batch: what was decided together and answered by one system call.',
    type: 'histogram',
    samples: ({ queues, batchBounds }) =>
      queues.flatMap(({ queue, batchSizes, decided }) => {
        const packets = decided.reduce((sum, each) => sum + each.packets, 0);
        return histogramSamples(BATCHES, { queue }, batchBounds, batchSizes, packets);
      }),
  },
  {
    name: DECISIONS,
    help: 'Time that the core took to decide one batch; every 64th batch is timed.',
    type: 'histogram',
    samples: ({ queues, decisionBounds }) =>
      queues.flatMap(({ queue, decisions: { counts, seconds } }) =>
        histogramSamples(DECISIONS, { queue }, decisionBounds, counts, seconds),
      ),
  },
  {
    name: 'magmark_timed_packets_total',
    help: 'Packets of the batches in magmark_batch_decision_seconds: its sum over these is the time of one packet.',
    type: 'counter',
    samples: ({ queues }) => queues.map(({ queue, decisions }) => sample(decisions.packets, { queue })),
  },
  {
    name: 'magmark_queue_waiting_packets',
    help: 'Packets that wait in the kernel for their verdict.',
    type: 'gauge',
    samples: observed =>
      ofKernel(observed, ({ depth }) => [['', depth]]).map(({ queue, value }) => sample(value, { queue })),
  },
  {
    name: 'magmark_queue_dropped_packets_total',
    help: 'Packets that the kernel dropped before they were decided, since the queue was bound: it was full (queue), or the socket was (buffer).',
    type: 'counter',
    samples: observed =>
      ofKernel(observed, ({ queueDropped, userDropped }) => [
        ['queue', queueDropped],
        ['buffer', userDropped],
      ]).map(({ queue, cause, value }) => sample(value, { queue, full: cause })),
  },
  {
    name: 'magmark_queue_verdict_errors_total',
    help: 'Verdicts that the kernel refused.',
    type: 'counter',
    samples: ({ queues }) => queues.map(({ queue, verdictErrors }) => sample(verdictErrors, { queue })),
  },
  {
    name: 'magmark_fragments_total',
    help: 'Fragments: firsts that were remembered (tracked) and forgotten for others before their time (evicted); later ones that came behind their first (followed), that were held until it came (held), whose first came (released), whose time ran out (timed-out), or that gave their place to younger ones (pushed-out).',
    type: 'counter',
    samples: ({ queues }) =>
      queues.flatMap(({ queue, fragments }) =>
        Object.entries(fragments).map(([event, count]) => sample(count, { queue, event })),
      ),
  },
  {
    name: 'magmark_queue_held_fragments',
    help: 'Fragments that wait in the queue for their first.',
    type: 'gauge',
    samples: ({ queues }) => queues.map(({ queue, fragmentsHeld }) => sample(fragmentsHeld, { queue })),
  },
  {
    name: 'magmark_worker_bound',
    help: '1 while the worker of this queue serves it.',
    type: 'gauge',
    samples: ({ queues }) => queues.map(({ queue, bound }) => sample(bound, { queue })),
  },
  {
    name: 'magmark_worker_restarts_total',
    help: 'Restarts of the worker of this queue after it died.',
    type: 'counter',
    samples: ({ queues }) => queues.map(({ queue, restarts }) => sample(restarts, { queue })),
  },
];
