/** A new process takes over from a running one while packets come, and none is lost. */
import t from 'tap';
import { A, B } from './bgp.js';
import { answered, connectionsTo, inLoadBalancer, kernelState, predict } from './lab.js';
import { Load } from './load.js';
import { connectingDuring } from './steady.js';
import { ONE, OTHER, queueNumbers, TakeoverLab } from './takeover-lab.js';

/** An emulated machine has less, and time for one takeover and back: see scripts/vm/guest.ts. */
const PER_SECOND = Number(process.env.MAGMARK_LOAD ?? 4000);
const ROUNDS = process.env.MAGMARK_LOAD === undefined ? 3 : 2;

t.setTimeout(300_000);
const lab = await TakeoverLab.create();
t.teardown(() => lab.topology.destroy());
const { clients } = lab.bgp;
let running = await lab.serving(ONE);
t.comment(`carrier ${(await running.status()).carrier}`);

t.test('twice, and then with other targets and flows, no packet is lost and no session ends', async t => {
  const began = Date.now();
  const before = await running.status();
  t.strictSame(await queueNumbers(running), [0, 1]);
  const kept = await clients.connect(connectionsTo(4, [A[4]], 40, 10_000), true);
  t.ok(answered(kept).every(identifier => identifier !== null));
  for (const [claim, text, queues] of [
    ['to other numbers', ONE, [2, 3]],
    ['back', ONE, [0, 1]],
    ['with another configuration', OTHER, [2, 3]],
  ].slice(0, ROUNDS) as [string, string, number[]][]) {
    const former = running;
    const load = await Load.start(lab.topology, [A, B], PER_SECOND);
    const steady = await connectingDuring(
      lab.topology,
      clients,
      () => lab.batch(),
      () => lab.succeeding(former, text),
    );
    const figures = await load.stop();
    const { connections, answers, retransmitted } = steady;
    running = steady.result;
    t.comment(
      `${claim}: ${figures.sent} datagrams at ${figures.perSecond}/s, ${figures.lost} lost; ` +
        `${connections.length} connections with ${figures.tcp.sent} packets and ${figures.tcp.answers} answers, ` +
        `${figures.tcp.lost} lost, ${retransmitted} sent again for being late; ` +
        `ms: ${JSON.stringify((await running.ready()).milliseconds)}`,
    );
    t.equal(figures.lost, 0, `${claim}: every datagram arrives`);
    t.equal(figures.tcp.lost, 0, `${claim}: so does every packet of TCP, both ways`);
    if (text === ONE) {
      const predicted = predict(text, connections);
      const others = answered(answers).filter((identifier, index) => identifier !== predicted[index]);
      t.strictSame(others, [], `${claim}: answered as predicted`);
      t.ok((await clients.echo(claim)).every(Boolean), `${claim}: established connections live on`);
    } else {
      // One that is moved to another target, between its first segments, is reset by that.
      const silent = answers.filter(answer => 'error' in answer && answer.error === 'no answer');
      t.strictSame(silent, [], `${claim}: all are answered`);
    }
    t.equal((await former.stop()).code, 0, 'the former one ends with 0');
    t.strictSame(await queueNumbers(running), queues, `${claim}: numbers of the queues`);
    const status = await running.status();
    t.ok(
      status.queues.every(({ dropped }) => dropped === 0),
      'no queue has dropped any',
    );
    lab.expectAnnounced(t, began, before, status);
  }
  await clients.close();
  if (ROUNDS === 3) {
    await lab.bgp.expectServed(t, OTHER, [A[4], A[6], B[4], B[6]], 'the other configuration is in force');
    const marks = await inLoadBalancer(lab.topology, 'ip', 'rule');
    t.notMatch(marks, /lookup 5069\n/, 'what the former one alone wanted is gone');
  }
  t.equal((await running.stop()).code, 0);
  t.equal(await kernelState(lab.topology), lab.bgp.pristine, 'and of all when the last one stops');
});
