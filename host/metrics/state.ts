/** What the daemon does: images, changes, repairs, gateways. */
import { type MetricFamily, sample } from './family.js';

const REBUILD = 'magmark_table_rebuild_seconds';

export const STATE_FAMILIES: readonly MetricFamily[] = [
  {
    name: 'magmark_build_info',
    help: 'Version of magmark and of Node.js, and how packets are steered into the queues.',
    type: 'gauge',
    samples: ({ version, node, carrier }) => [sample(1, { version, node, carrier })],
  },
  {
    name: 'magmark_generation',
    help: 'Number of the image that the workers decide by.',
    type: 'gauge',
    samples: ({ generation }) => [sample(generation)],
  },
  {
    name: 'magmark_image_bytes',
    help: "Bytes of the core's memory that images and traces use.",
    type: 'gauge',
    samples: ({ imageBytes }) => [sample(imageBytes)],
  },
  {
    name: REBUILD,
    help: 'Time that it took to fill a Maglev table anew.',
    type: 'summary',
    samples: ({ rebuilds: { count, seconds } }) => [
      { metricName: `${REBUILD}_sum`, labels: {}, value: seconds },
      { metricName: `${REBUILD}_count`, labels: {}, value: count },
    ],
  },
  {
    name: 'magmark_reconcile_runs_total',
    help: 'Comparisons of everything that is wanted with the kernel, failed ones included.',
    type: 'counter',
    samples: ({ looks }) => [sample(looks.count)],
  },
  {
    name: 'magmark_reconcile_failures_total',
    help: 'Comparisons with the kernel that failed; they are tried again.',
    type: 'counter',
    samples: ({ looks }) => [sample(looks.failed)],
  },
  {
    name: 'magmark_reconcile_repairs_total',
    help: 'Settings, rules, routes, tables and neighbour entries that others changed and that were mended.',
    type: 'counter',
    samples: ({ looks }) => [sample(looks.repairs)],
  },
  {
    name: 'magmark_reloads_total',
    help: 'Changes of the configuration, by SIGHUP or apply.',
    type: 'counter',
    samples: ({ reloads }) => [
      sample(reloads.succeeded, { result: 'success' }),
      sample(reloads.refused, { result: 'refused' }),
    ],
  },
  {
    name: 'magmark_config_last_reload_successful',
    help: '1 unless the last change of the configuration was refused.',
    type: 'gauge',
    samples: ({ reloads }) => [sample(reloads.lastSucceeded)],
  },
  {
    name: 'magmark_config_last_reload_success_timestamp_seconds',
    help: 'When the configuration in force was brought about, in seconds since 1970.',
    type: 'gauge',
    samples: ({ reloads }) => [sample(reloads.lastSuccessAt)],
  },
  {
    name: 'magmark_bird_up',
    help: '1 while BIRD runs; absent without gateways.',
    type: 'gauge',
    samples: ({ bird }) => (bird.wanted ? [sample(bird.up)] : []),
  },
  {
    name: 'magmark_bird_restarts_total',
    help: 'Starts of BIRD after it had failed.',
    type: 'counter',
    samples: ({ bird }) => [sample(bird.restarts)],
  },
  {
    name: 'magmark_gateway_session_up',
    help: '1 while packets can go to this address of a gateway: BGP is established or the static route stands, and BFD, if wanted, is up.',
    type: 'gauge',
    samples: ({ sessions }) =>
      sessions.map(({ gateway, address, family, protocol, up }) =>
        sample(up, { gateway, address, family: `ipv${family}`, protocol }),
      ),
  },
  {
    name: 'magmark_gateway_bfd_up',
    help: '1 while BFD with this address of a gateway is up; absent where it is not wanted.',
    type: 'gauge',
    samples: ({ sessions }) =>
      sessions.flatMap(({ gateway, address, family, bfdUp }) =>
        bfdUp === null ? [] : [sample(bfdUp, { gateway, address, family: `ipv${family}` })],
      ),
  },
  {
    name: 'magmark_vip_announced',
    help: '1 while a VIP is announced to gateways that speak BGP: a target serves it.',
    type: 'gauge',
    samples: ({ vips }) => vips.map(({ prefix, announced }) => sample(announced, { vip: prefix })),
  },
  {
    name: 'magmark_foreign_rules',
    help: 'Rules and policies of other programs that can touch packets to VIPs, by hook and by what they do (accept before the queue, drop, queue, local, rewrite, mark); absent where there are none.',
    type: 'gauge',
    samples: ({ foreignRules }) =>
      foreignRules.map(({ hook, effect, count }) => sample(count, { hook, effect })),
  },
  {
    name: 'magmark_warnings',
    help: 'Warnings that magmark status shows now.',
    type: 'gauge',
    samples: ({ warnings }) => [sample(warnings)],
  },
  {
    name: 'magmark_internal_errors_total',
    help: 'Errors that no part of the daemon expected; it goes on, and the log has them.',
    type: 'counter',
    samples: ({ internalErrors }) => [sample(internalErrors)],
  },
  {
    name: 'magmark_log_lines_dropped_total',
    help: 'Lines of the log that were dropped because its reader did not read.',
    type: 'counter',
    samples: ({ logLinesDropped }) => [sample(logLinesDropped)],
  },
];
