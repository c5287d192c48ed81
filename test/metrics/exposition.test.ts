import { readFileSync } from 'node:fs';
import t from 'tap';
import { exposition, FAMILIES } from '../../host/metrics/exposition.js';
import { readExposition, total } from './exposition-reader.js';
import { observationOf } from './observation.js';
import { promtool } from './promtool.js';

t.test('every family is read by a strict reader, and has what was observed', async t => {
  const families = readExposition(await exposition(observationOf()));
  t.strictSame(
    [...families.keys()],
    FAMILIES.map(({ name }) => name),
  );
  const rows: [name: string, labels: Record<string, string | number>, value: number][] = [
    ['magmark_build_info', { version: '1.2.3', node: 'v20.0.0', carrier: 'nft' }, 1],
    ['magmark_guard_dropped_packets_total', { family: 'ipv6' }, 8],
    ['magmark_left_packets_total', {}, 9],
    ['magmark_lost_packets_total', {}, 2],
    ['magmark_packets_total', { queue: 3, verdict: 'drop', reason: 'no-flow' }, 3],
    ['magmark_packet_bytes_total', { queue: 3, verdict: 'accept', reason: 'ok' }, 600],
    ['magmark_batch_packets_bucket', { queue: 3, le: 1 }, 1],
    ['magmark_batch_packets_bucket', { queue: 3, le: 2 }, 3],
    ['magmark_batch_packets_bucket', { queue: 3, le: '+Inf' }, 4],
    ['magmark_batch_packets_count', { queue: 3 }, 4],
    ['magmark_batch_packets_sum', { queue: 3 }, 13],
    ['magmark_batch_decision_seconds_bucket', { queue: 3, le: 5.12e-7 }, 2],
    ['magmark_batch_decision_seconds_count', { queue: 3 }, 3],
    ['magmark_timed_packets_total', { queue: 3 }, 9],
    ['magmark_queue_dropped_packets_total', { queue: 3, full: 'queue' }, 5],
    ['magmark_queue_dropped_packets_total', { queue: 3, full: 'buffer' }, 6],
    ['magmark_worker_bound', { queue: 4 }, 0],
    ['magmark_flow_matches_total', { flow: 'web', stream: 'a' }, 10],
    ['magmark_stream_active_targets', { stream: 'a' }, 1],
    ['magmark_stream_pending_targets', { stream: 'a', reason: 'link' }, 1],
    ['magmark_stream_pending_targets', { stream: 'a', reason: 'route' }, 0],
    ['magmark_target_table_share_ratio', { stream: 'a', target: 1 }, 1],
    ['magmark_table_rebuild_seconds_sum', {}, 0.5],
    ['magmark_reloads_total', { result: 'refused' }, 1],
    ['magmark_config_last_reload_success_timestamp_seconds', {}, 1_700_000_000.5],
    ['magmark_gateway_session_up', { gateway: 'g', family: 'ipv6' }, 0],
    ['magmark_gateway_bfd_up', { gateway: 'g' }, 0],
  ];
  for (const [name, labels, value] of rows)
    t.equal(total(families, name, labels), value, `${name} ${JSON.stringify(labels)}`);
  t.equal(families.get('magmark_gateway_bfd_up')!.samples.length, 1, 'absent where BFD is not wanted');
  t.equal(families.get('magmark_queue_waiting_packets')!.samples.length, 1, 'absent while not bound');
});

t.test('promtool, where there is one, finds nothing', async t => {
  const said = promtool(await exposition(observationOf()));
  t.equal(said ?? '', '');
  if (said === null) t.comment('THE METRICS ARE NOT CHECKED WITH PROMTOOL: there is none here');
});

t.test('names that need escaping come back as they were', async t => {
  const name = 'a"b\\c\nd';
  const text = await exposition(observationOf({ flows: [{ name, stream: 's', matches: 1 }] }));
  t.equal(readExposition(text).get('magmark_flow_matches_total')!.samples[0]!.labels.flow, name);
});

t.test('the reader refuses what Prometheus would', t => {
  const head = '# HELP a_total what\n# TYPE a_total counter\n';
  const rows: [claim: string, text: string, fault: RegExp][] = [
    ['no TYPE', 'a_total 1\n', /no TYPE/],
    ['a series twice', `${head}a_total 1\na_total 2\n`, /second time/],
    ['a counter that is not one', '# HELP a what\n# TYPE a counter\na 1\n', /end in _total/],
    ['a value that is none', `${head}a_total one\n`, /no value/],
    ['a label without quotes', `${head}a_total{b=1} 1\n`, /no label/],
    ['a line that does not end', `${head}a_total 1`, /no end/],
    [
      'a histogram that falls',
      '# HELP h what\n# TYPE h histogram\nh_bucket{le="1"} 2\nh_bucket{le="+Inf"} 1\nh_sum 1\nh_count 1\n',
      /falls back/,
    ],
    [
      'a histogram without an end',
      '# HELP h what\n# TYPE h histogram\nh_bucket{le="1"} 2\nh_sum 1\nh_count 2\n',
      /do not fit/,
    ],
  ];
  for (const [claim, text, fault] of rows) t.throws(() => readExposition(text), fault, claim);
  t.end();
});

t.test('ARCHITECTURE.md names every family, and no other', t => {
  const text = readFileSync(new URL('../../../ARCHITECTURE.md', import.meta.url), 'utf8');
  const named = [...text.matchAll(/`(magmark_[a-z_]+|process_[a-z_]+)[`{]/g)].map(match => match[1]!);
  t.strictSame([...new Set(named)].sort(), FAMILIES.map(({ name }) => name).sort());
  t.end();
});
