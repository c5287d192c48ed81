import t from 'tap';
import { parseTraceFlow, type WrittenConditions } from '../../host/trace/filter.js';
import { nfqlbTraceText } from '../../host/trace/nfqlb-text.js';
import { MOST_WAITING_BYTES, waitingBytes } from '../../host/trace/reader.js';
import { Tracer } from '../../host/trace/tracer.js';
import type { CapturedTrace } from '../../host/types/trace.js';
import { configOf, flowOf, streamOf } from '../fixture/config.js';
import { icmp, ip, TCP, transport, UDP } from '../fixture/packet.js';
import { Decider } from './decider.js';

const CONFIG = configOf({
  streams: [streamOf('s', 10, { 1: 5001, 4: 5004 }), streamOf('empty', 10, {})],
  flows: [
    flowOf('web', 's', { protocols: ['tcp'], destinationPortRanges: [{ first: 80, last: 80 }] }),
    flowOf('nobody', 'empty', { protocols: ['udp'] }),
  ],
});
const web = ip('192.0.2.1', '20.0.0.1', TCP, transport(TCP, 1000, 80));
const web6 = ip('2001:db8::1', '2000::1', TCP, transport(TCP, 1001, 80));
const dns = ip('192.0.2.9', '20.0.0.1', UDP, transport(UDP, 1002, 53));
const stranger = ip('192.0.2.1', '20.0.0.2', TCP, transport(TCP, 1003, 81));
const error = ip(
  '198.51.100.1',
  '20.0.0.1',
  1,
  icmp(3, 4, [0, 0, 0, 0], ip('20.0.0.1', '192.0.2.1', TCP, transport(TCP, 80, 1000))),
);
const cut = web.subarray(0, 22);
const garbage = Uint8Array.from([0, 1, 2, 3]);
const ALL = [web, web6, dns, stranger, error, cut, garbage];

const collect = async (reader: AsyncIterable<readonly CapturedTrace[]>): Promise<CapturedTrace[]> => {
  const all: CapturedTrace[] = [];
  for await (const batch of reader) all.push(...batch);
  return all;
};

t.test('a record tells what the core decided, by the names of the configuration', async t => {
  const decider = new Decider(CONFIG);
  const tracer = new Tracer({ images: decider.images, firstQueue: 5 });
  const reader = await tracer.open({ flows: [], snapLength: 512 });
  const before = Date.now();
  decider.decide(ALL, 0, Number(process.hrtime.bigint()));
  await reader.close();
  const packets = await collect(reader);
  t.match(packets, [
    {
      reason: 'ok',
      flow: 'web',
      stream: 's',
      protocol: 'tcp',
      source: '192.0.2.1',
      sourcePort: 1000,
      inner: false,
      fragment: null,
    },
    {
      reason: 'ok',
      flow: 'web',
      protocol: 'tcp',
      source: '2001:db8::1',
      destination: '2000::1',
      destinationPort: 80,
    },
    { reason: 'no-target', flow: 'nobody', stream: 'empty', identifier: null, fwmark: null, protocol: 'udp' },
    { reason: 'no-flow', flow: null, stream: null, hash: null, destination: '20.0.0.2' },
    { reason: 'ok', flow: 'web', protocol: 'tcp', source: '192.0.2.1', sourcePort: 1000, inner: true },
    { reason: 'truncated', flow: null, fwmark: null },
    { reason: 'not-ip', flow: null, fwmark: null },
  ]);
  t.equal(packets[0]!.fwmark, 5000 + packets[0]!.identifier!);
  t.equal(packets[4]!.hash, packets[0]!.hash, 'an error goes where its cause came from');
  t.strictSame(
    packets.map(each => Buffer.from(each.packet)),
    ALL.map(each => Buffer.from(each)),
  );
  t.ok(packets.every(each => Math.abs(each.timeUs / 1000 - before) < 1000 && each.queue === 5));
  t.equal(reader.lost, 0);
  t.notOk(decider.watched, 'nobody watches any more: the workers are told');
});

t.test('a record of an error whose packet has no ports shows that packet, not a mixture of both', async t => {
  const decider = new Decider(CONFIG);
  const tracer = new Tracer({ images: decider.images, firstQueue: 0 });
  const reader = await tracer.open({ flows: [], snapLength: 512 });
  const error4 = (inner: Uint8Array) => ip('198.51.100.1', '20.0.0.1', 1, icmp(11, 1, [0, 0, 0, 0], inner));
  const error6 = (inner: Uint8Array) => ip('2001:db8::f', '2000::1', 58, icmp(3, 1, [0, 0, 0, 0], inner));
  const later = ip('20.0.0.1', '192.0.2.1', UDP, [1, 2, 3, 4, 5, 6, 7, 8], { fragment: 0x00b9, id: 7 });
  const fragment = [UDP, 0, 0x05, 0xc8, 0, 0, 0, 9];
  const later6 = ip('2000::1', '2001:db8::1', 44, [1, 2, 3, 4], { options: fragment });
  const reply = ip('20.0.0.1', '192.0.2.1', TCP, transport(TCP, 80, 1000));
  decider.decide([
    error4(later),
    error6(later6),
    error4(reply.subarray(0, 22)),
    error6(ip('2000::1', '2001:db8::1', 60, [UDP])),
    error4(reply.subarray(0, 12)),
  ]);
  await reader.close();
  const inside = {
    inner: true,
    sourcePort: 0,
    destinationPort: 0,
    source: '192.0.2.1',
    destination: '20.0.0.1',
  };
  const inside6 = { ...inside, source: '2001:db8::1', destination: '2000::1' };
  t.match(await collect(reader), [
    { ...inside, reason: 'fragment-without-first', protocol: 'udp' },
    { ...inside6, reason: 'fragment-without-first', protocol: 'udp' },
    { ...inside, reason: 'truncated', protocol: 'tcp' },
    { ...inside6, reason: 'truncated', protocol: '60' },
    // Its addresses are not there: the error's own are shown.
    { inner: false, reason: 'truncated', protocol: 'icmp', source: '198.51.100.1', destination: '20.0.0.1' },
  ]);
});

const FILTERS: readonly (readonly [
  claim: string,
  written: WrittenConditions,
  wanted: readonly Uint8Array[],
])[] = [
  ['protocol', { protocols: 'udp' }, [dns]],
  ['protocols', { protocols: 'udp,tcp', dsts: '20.0.0.1/32' }, [web, dns, error]],
  ['destination of either family', { dsts: '20.0.0.2/32,2000::/64' }, [web6, stranger]],
  ['source', { srcs: '192.0.2.8/29' }, [dns]],
  ['destination ports', { dports: '81-90,53' }, [dns, stranger]],
  ['source ports; errors by the packet inside', { sports: '1000' }, [web, error]],
  [
    'bytes; a packet that was cut off before them has not, and they say nothing about an error',
    { match: 'tcp[2:2] = 81', protocols: 'tcp' },
    [stranger, error],
  ],
];
for (const [claim, written, wanted] of FILTERS)
  t.test(`a trace flow selects by ${claim}`, async t => {
    const decider = new Decider(CONFIG);
    const tracer = new Tracer({ images: decider.images, firstQueue: 0 });
    const reader = await tracer.open({ flows: [parseTraceFlow('it', written)], snapLength: 512 });
    decider.decide(ALL);
    await reader.close();
    const packets = await collect(reader);
    t.strictSame(
      packets.map(each => ALL.findIndex(other => Buffer.from(each.packet).equals(other))),
      wanted.map(each => ALL.indexOf(each)),
    );
    t.ok(packets.every(each => each.traceFlow === 'it'));
  });

t.test('what is not wanted does not push what is out of a small ring', async t => {
  const decider = new Decider(CONFIG);
  const tracer = new Tracer({ images: decider.images, firstQueue: 0, ringBytes: 1024 });
  const reader = await tracer.open({ flows: [parseTraceFlow('dns', { dports: '53' })], snapLength: 0 });
  for (let n = 0; n < 1000; n++) decider.decide(Array.from({ length: 64 }, () => web));
  decider.decide([dns]);
  await reader.close();
  t.match(await collect(reader), [{ destinationPort: 53, sequence: 0 }]);
  t.equal(reader.lost, 0);
});

t.test(
  'several readers each get what they want, with the bytes that they want, and lose their own',
  async t => {
    const decider = new Decider(CONFIG);
    const tracer = new Tracer({ images: decider.images, firstQueue: 0 });
    const all = await tracer.open({ flows: [], snapLength: 512 });
    const udp = await tracer.open({ flows: [parseTraceFlow('udp', { protocols: 'udp' })], snapLength: 0 });
    const two = await tracer.open({
      flows: [parseTraceFlow('six', { srcs: '::/1', dsts: '2000::/16' }), parseTraceFlow('rest', {})],
      snapLength: 20,
    });
    decider.decide(ALL);
    await udp.close();
    decider.decide([dns]);
    await Promise.all([all.close(), two.close()]);
    t.match(await collect(udp), [{ traceFlow: 'udp', packet: { length: 0 } }]);
    t.equal((await collect(all)).length, ALL.length + 1);
    const named = await collect(two);
    t.strictSame(
      named.map(each => each.traceFlow),
      ALL.concat(dns).map(each => (each === web6 ? 'six' : 'rest')),
    );
    t.equal(named[0]!.packet.length, 20);
  },
);

t.test('a place that is free again brings nothing of its former reader along', async t => {
  const decider = new Decider(CONFIG);
  const tracer = new Tracer({ images: decider.images, firstQueue: 0, ringBytes: 1024 });
  const first = await tracer.open({ flows: [], snapLength: 0 });
  for (let n = 0; n < 10; n++) decider.decide(ALL);
  await first.close();
  t.equal((await collect(first)).length + first.lost, 10 * ALL.length);
  t.ok(first.lost > 0);
  const second = await tracer.open({ flows: [], snapLength: 0 });
  decider.decide([dns]);
  await second.close();
  t.match(await collect(second), [{ destinationPort: 53 }]);
  t.equal(second.lost, 0);
});

t.test('more readers than there are places are refused, and a place that is left is taken', async t => {
  const decider = new Decider(CONFIG);
  const tracer = new Tracer({ images: decider.images, firstQueue: 0 });
  const open = () => tracer.open({ flows: [], snapLength: 0 });
  const readers = await Promise.all(Array.from({ length: decider.core.Limit.Taps }, open));
  await t.rejects(open(), { name: 'TraceError', message: /^8 traces and captures run already/ });
  decider.decide([web]);
  await readers[3]!.close();
  const again = await open();
  decider.decide([web]);
  await Promise.all([...readers, again].map(each => each.close()));
  const counts = await Promise.all([...readers, again].map(async each => (await collect(each)).length));
  t.strictSame(counts, [2, 2, 2, 1, 2, 2, 2, 2, 1]);
});

t.test('names are those of the generation that decided, whenever they are read', async t => {
  const decider = new Decider(CONFIG);
  const tracer = new Tracer({ images: decider.images, firstQueue: 0 });
  const reader = await tracer.open({ flows: [], snapLength: 0 });
  for (let n = 0; n < 5; n++) {
    const flows = Array.from({ length: n }, (_, k) =>
      flowOf(`other-${k}`, 's', { priority: 9, protocols: ['sctp'] }),
    );
    decider.images.publish({ ...CONFIG, flows: [...flows, flowOf(`web-${n}`, 's')] });
    decider.decide([web]);
    await decider.images.retire();
    decider.decide([web]);
  }
  await reader.close();
  t.strictSame(
    (await collect(reader)).map(each => each.flow),
    [0, 0, 1, 1, 2, 2, 3, 3, 4, 4].map(n => `web-${n}`),
  );
});

t.test('flows that are set anew hold from then on, and name what they selected', async t => {
  const decider = new Decider(CONFIG);
  const tracer = new Tracer({ images: decider.images, firstQueue: 0 });
  const flow = (name: string, written: WrittenConditions) => parseTraceFlow(name, written);
  const reader = await tracer.open({ flows: [flow('a', { protocols: 'udp' })], snapLength: 0 });
  decider.decide(ALL);
  await reader.setFlows([flow('b', { dports: '81' }), flow('c', { protocols: 'udp' })]);
  decider.decide(ALL);
  await reader.close();
  t.strictSame(
    (await collect(reader)).map(each => each.traceFlow),
    ['a', 'c', 'b'],
  );
});

t.test('a reader that does not read loses what it has no room for, exactly', async t => {
  const decider = new Decider(CONFIG);
  const tracer = new Tracer({ images: decider.images, firstQueue: 0, ringBytes: 256 * 1024 });
  const reader = await tracer.open({ flows: [], snapLength: 0 });
  const batch = Array.from({ length: 64 }, () => web);
  let offered = 0;
  while (reader.lost === 0) {
    for (let n = 0; n < 16; n++, offered += batch.length) decider.decide(batch);
    await new Promise(resolve => setTimeout(resolve, 10));
  }
  await reader.close();
  const given = (await collect(reader)).length;
  t.equal(given, Math.floor(MOST_WAITING_BYTES / waitingBytes(0)));
  t.equal(reader.lost, offered - given);
});

t.test('tracing leaves nothing behind in the arena but its rings', async t => {
  const decider = new Decider(CONFIG);
  const tracer = new Tracer({ images: decider.images, firstQueue: 0, ringBytes: 1024 });
  const open = () => tracer.open({ flows: [parseTraceFlow('x', { dsts: '20.0.0.0/8' })], snapLength: 0 });
  await (await open()).close();
  const used = decider.images.usedBytes;
  for (let n = 0; n < 10; n++) await (await open()).close();
  t.equal(decider.images.usedBytes, used);
});

t.test('conditions are read as nfqlb reads them, and each fault is told', async t => {
  t.match(parseTraceFlow('n', { dsts: '20.0.0.9/8, 2000::/16', dports: '1-2,3' }), {
    vips: [{ address: '20.0.0.0', length: 8 }, { address: '2000::' }],
    destinationPortRanges: [
      { first: 1, last: 2 },
      { first: 3, last: 3 },
    ],
  });
  t.throws(
    () =>
      parseTraceFlow('n', {
        protocols: 'icmp',
        dsts: '20.0.0.1',
        srcs: 'x/1',
        dports: '0',
        sports: '2-1',
        match: 'y',
      }),
    { name: 'ConfigError', faults: { length: 6 } },
  );
});

t.test("nfqlb's three lines", async t => {
  const decider = new Decider(CONFIG);
  const tracer = new Tracer({ images: decider.images, firstQueue: 0 });
  const reader = await tracer.open({ flows: [parseTraceFlow('mine', {})], snapLength: 0 });
  decider.decide([web, stranger]);
  await reader.close();
  const text = (await collect(reader)).map(each => nfqlbTraceText(each, stream => `tshm-${stream}`)).join('');
  t.match(
    text,
    /^Match for trace-flow: mine\nproto=tcp, len=\d+, ::ffff:192\.0\.2\.1 1000 -> ::ffff:20\.0\.0\.1 80\ntarget=tshm-s, fwmark=500[14]\nMatch for trace-flow: mine\nproto=tcp, len=\d+, ::ffff:192\.0\.2\.1 1003 -> ::ffff:20\.0\.0\.2 81\ntarget=-, fwmark=-1\n$/,
  );
});
