/** Reloads one after the other while packets come, and none is lost or finds no target. `npm run test:reloads`: 1,000. */
import t from 'tap';
import { A, B } from './bgp.js';
import { writeConfig } from './lab.js';
import { Load } from './load.js';
import { connectingDuring } from './steady.js';
import { ONE, TakeoverLab } from './takeover-lab.js';

const RELOADS = Number(process.env.MAGMARK_RELOADS ?? 100);
const PER_SECOND = 2000;

const SIXTY_TWO = '      - {identifier: 62, ips: [172.16.0.8, "fd00::8"]}\n';
const SEVENTY_THREE = '      - {identifier: 73, ips: [172.16.1.8, "fd00:0:0:1::8"]}\n';

/** Each is reloaded after the one before. */
const CONFIGURATIONS: Readonly<Record<string, string>> = {
  'a target more': ONE.replace(SIXTY_TWO, SIXTY_TWO + SEVENTY_THREE),
  'a target less': ONE.replace(SIXTY_TWO, ''),
  'other flows': ONE.replace(/(name: b-(tcp|udp), stream: )b, priority: 1/g, '$1a, priority: 7'),
  'another size of stream a, so other marks of stream b': ONE.replace(
    '- name: a\n',
    '- name: a\n    maxTargets: 90\n',
  ),
  'a stream more': ONE.replace(
    '- name: b\n',
    `- name: c\n    targets:\n${SEVENTY_THREE}  - name: b\n`,
  ).replace('name: a-udp, stream: a', 'name: a-udp, stream: c'),
  'as it was': ONE,
};

t.setTimeout(1_800_000);
const lab = await TakeoverLab.create();
t.teardown(() => lab.topology.destroy());
const daemon = await lab.serving(ONE);

t.test(`${RELOADS} reloads lose no packet, and none finds no target`, async t => {
  const texts = Object.values(CONFIGURATIONS);
  const times: number[] = [];
  const reloads = async () => {
    for (let number = 0; number < RELOADS; number++) {
      writeConfig(lab.topology, texts[number % texts.length]!);
      const began = performance.now();
      const { msg } = await daemon.reload();
      times.push(performance.now() - began);
      if (msg !== 'reloaded') return t.fail(`reload ${number}: ${daemon.logTail(3)}`);
    }
  };
  const load = await Load.start(lab.topology, [A, B], PER_SECOND);
  const batch = () => lab.batch();
  const { connections, answers, retransmitted } = await connectingDuring(
    lab.topology,
    lab.bgp.clients,
    batch,
    reloads,
  );
  const { sent, lost, tcp } = await load.stop();
  // One that a reload moves to another target, between its first segments, is reset by that.
  const failures = answers.flatMap(answer => ('error' in answer ? [answer.error] : []));
  const status = await daemon.status();
  const reasons = status.queues.flatMap(({ reasons }) => Object.entries(reasons));
  const sorted = times.toSorted((one, other) => one - other);
  t.comment(
    `${times.length} reloads, median ${Math.round(sorted[sorted.length >> 1]!)} ms; ${sent} datagrams, ${lost} lost; ` +
      `${connections.length} connections with ${tcp.sent} packets and ${tcp.answers} answers, ${tcp.lost} lost, ` +
      `${retransmitted} sent again for being late; ${failures.length} connections moved; ${JSON.stringify(reasons)}`,
  );
  t.equal(times.length, RELOADS);
  t.equal(lost, 0, 'datagrams');
  t.equal(tcp.lost, 0, 'packets of TCP, both ways');
  t.strictSame(
    failures.filter(error => error === 'no answer'),
    [],
    'every connection is answered',
  );
  t.strictSame(
    reasons.filter(([reason]) => reason !== 'ok'),
    [],
    'each packet found its flow and an active target',
  );
  t.ok(
    status.queues.every(({ dropped }) => dropped === 0),
    'no queue has dropped any',
  );
  t.equal((await daemon.stop()).code, 0);
});
