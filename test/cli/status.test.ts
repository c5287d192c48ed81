/** `magmark status` on screens of any size. */
import t from 'tap';
import { screenText } from '../../host/cli/status.js';
import type { StatusReply } from '../../host/control/api.js';

const status = (targets: number, pending: number): StatusReply => ({
  version: '0.1.0',
  pid: 1,
  startedAt: '2026-01-01T00:00:00.000Z',
  configFile: '/etc/magmark/config.yaml',
  source: { kind: 'file', name: '/etc/magmark/config.yaml', at: '2026-01-01T00:00:00.000Z' },
  state: { path: '/var/lib/magmark/state.json', keptAt: null, fault: null },
  lastChange: null,
  generation: 7,
  carrier: 'nft',
  queues: [0, 1, 2, 3].map(queue => ({
    queue,
    packets: 1000,
    bytes: 100_000,
    batches: 100,
    depth: 0,
    dropped: 0,
    reasons: { ok: 990, 'no-flow': 10 },
  })),
  workerRestarts: 0,
  targets: Array.from({ length: targets }, (_, index) => ({
    stream: 'a',
    identifier: index + 1,
    fwmark: 5001 + index,
    ips: ['172.16.0.6', 'fd00:1234:5678:9abc::6'],
    pending: index >= targets - pending ? 'neighbour 172.16.0.6 on conduit-a does not answer' : null,
    health: null,
    packets: 0,
    packetShare: null,
    slotShare: 0,
  })),
  gateways: [],
  bird: { status: 'off', pid: null, restarts: 0, lastError: null },
  vips: [{ prefix: '20.0.0.1/32', announced: true, lost: null }],
  passage: { dropped: { ipv4: 0, ipv6: 0 }, left: 990, lost: 0 },
  repairs: { count: 0, changes: 0, lastAt: null },
  warnings: [],
});

t.test('it fits the screen, head first; who takes no traffic is seen before the others', async t => {
  for (const [rows, columns] of [
    [24, 80],
    [10, 40],
    [50, 200],
  ] as const) {
    const lines = screenText(status(100, 2), rows, columns).split('\n');
    t.ok(lines.length <= rows, `${rows} rows: ${lines.length}`);
    t.ok(
      lines.every(line => line.length <= columns),
      `${columns} columns`,
    );
    t.match(lines[0], /^magmark 0\.1\.0, pid 1/);
  }
  t.match(screenText(status(100, 2), 24, 200), /does not answer/);
  t.match(screenText(status(100, 2), 24, 200), /and \d+ more: magmark targets/);
  t.match(screenText(status(2, 0), 50, 200), /│ no-flow|no-flow 10/);
});

t.test('the last change is named once there was one', async t => {
  t.notMatch(screenText(status(2, 0), 50, 200), /last change/);
  const lastChange = { added: ['web/3', 'stream web: healthCheck'], removed: ['web/2'], changed: [] };
  t.match(
    screenText({ ...status(2, 0), lastChange }, 50, 200),
    /last change: added web\/3, stream web: healthCheck; removed web\/2\n/,
  );
});
