/** Decisions observed of nfqlb, through our own commands. */
import { readFlowChange } from '../../host/config/change.js';
import { orderedFlows } from '../../host/core/image-parts.js';
import { compileCore, createMemory, instantiateCore } from '../../host/core/wasm.js';
import { configOf } from '../../host/flowlb/config.js';
import { activate, EMPTY_STATE, init, type State, setFlow } from '../../host/flowlb/state.js';
import { hashOf } from '../../host/nfqlb/hash.js';
import { primeBelow } from '../../host/nfqlb/prime.js';
import { Simulator } from '../../host/simulator/simulator.js';
import { EXCEPTIONS, MOVED, type VectorFlow, type VectorFlowSet, vectors } from '../fixture/vectors.js';
import { insideNamespace } from '../queue/namespace.js';
import { Session } from './session.js';

await insideNamespace(import.meta.url);
const { default: t } = await import('tap');
t.setTimeout(600_000);

const SLOTS = 25;

t.test('init, activate and show: the tables of nfqlb', async t => {
  const session = new Session();
  t.teardown(() => session.end());
  await session.start('--queue=0');
  for (const { desc, tableSize, M, maxTargets, active, lookup, lookupPrefix } of vectors.tables) {
    const adjusted = tableSize === M ? '' : `M adjusted; ${tableSize} -> ${M}\n`;
    t.equal(session.done(`init --shm=s --M=${tableSize} --N=${maxTargets}`), adjusted, desc);
    for (const [index, mark] of Object.entries(active))
      session.done(`activate --shm=s --index=${index} ${mark}`);
    const marks = Object.entries(active).map(([index, mark]) => ` ${mark}(${index})`);
    const slots = (lookup ?? lookupPrefix!).slice(0, SLOTS);
    t.equal(
      session.done('show --shm=s'),
      `Shm: s\n  Fw: own=0\n  Maglev: M=${M}, N=${maxTargets}\n   Lookup: ${slots.join(' ')}...\n   Active:${marks.join('')}\n`,
      desc,
    );
  }
});

/** Priorities that are above and below all of the sets'. */
const ABOVE = 1_000_000;

/**
 * Definitions that leave nfqlb's order: flows that were set again with another priority are set twice. One that stands
 * before an equal that was defined earlier came from above, the others from below.
 */
function history(number: number, { flows, order }: VectorFlowSet): VectorFlow[] {
  const place = ({ name }: VectorFlow): number => order.indexOf(name);
  const moved = flows.filter(({ name }) => MOVED[number]?.includes(name));
  const lowered = (flow: VectorFlow): boolean =>
    flows
      .slice(0, flows.indexOf(flow))
      .some(other => other.priority === flow.priority && place(flow) < place(other));
  const first = flows.map(flow =>
    moved.includes(flow) ? { ...flow, priority: lowered(flow) ? ABOVE : -ABOVE } : flow,
  );
  return [...first, ...moved];
}

function flowSetCommand(flow: VectorFlow): string[] {
  const list = (name: string, values: readonly string[] | string | undefined) =>
    values === undefined ? [] : [`--${name}=${typeof values === 'string' ? values : values.join(',')}`];
  return [
    'flow-set',
    `--name=${flow.name}`,
    '--target=s',
    `--prio=${flow.priority}`,
    // Where nfqlb's command line asks for protocols with ports, its sets leave them out.
    ...list('protocols', flow.protocols ?? ((flow.dports ?? flow.sports) ? 'tcp,udp,sctp' : undefined)),
    ...list('dsts', flow.dsts),
    ...list('srcs', flow.srcs),
    ...list('dports', flow.dports),
    ...list('sports', flow.sports),
    ...list('match', flow.match),
    ...(flow.udpencap ? [`--udpencap=${flow.udpencap}`] : []),
  ];
}

t.test(
  'flow-set and flow-list-names: the order of nfqlb, also of flows whose priority was changed',
  async t => {
    const session = new Session();
    t.teardown(() => session.end());
    // The other sets in the next test: a command takes its time.
    for (const [number, set] of vectors.flowSets.slice(0, 3).entries()) {
      await session.start('--queue=0');
      session.done('init --shm=s');
      for (const flow of history(number, set)) t.equal(session.done(flowSetCommand(flow)), 'OK\n', flow.name);
      t.strictSame(JSON.parse(session.done('flow-list-names')), set.order);
      await session.stop();
    }
  },
);

/** A set as `flowlb` holds it after its commands: one stream a flow, with the flow's mark. */
function stateOf(number: number, set: VectorFlowSet): State {
  return history(number, set).reduce<State>((state, flow) => {
    const { target_fwmark: mark, dports, sports, ...conditions } = flow;
    const { name } = flow;
    const made = init(state, { name, own: 0, tableSize: 3, maxTargets: 1 });
    const active = activate(made, { name, index: 0, fwmarks: [mark] }).state;
    const ports = { dports: dports?.split(','), sports: sports?.split(',') };
    const asked = readFlowChange(JSON.stringify({ set: { ...conditions, ...ports, target: name } }));
    return 'set' in asked ? setFlow(active, asked.set) : active;
  }, EMPTY_STATE);
}

t.test('the flow and the mark of every packet, by what the commands leave', async t => {
  const settings = {
    queues: { first: 0, last: 0 },
    queueLength: 1024,
    queueMark: 0x1000,
    markMask: 0xffffffff,
    queueSpinMicroseconds: 0,
    fragmentTimeoutMs: 200,
    mostHeld: 100,
    hashMode: 'five-tuple',
    noFlowFwmark: null,
    noTargetsFwmark: null,
  } as const;
  for (const [number, set] of vectors.flowSets.entries()) {
    const config = configOf(stateOf(number, set), { ...settings, promiscuousPing: set.promiscuousPing });
    t.strictSame(
      orderedFlows(config).map(({ name }) => name),
      set.order,
    );
    const simulator = Simulator.fromConfig(config);
    for (const [index, packet] of set.packets.entries()) {
      const { flow, fwmark } = simulator.decide(Buffer.from(packet.hex, 'hex'));
      const chosen = { flow: packet.flow, fwmark: packet.fwmark };
      const name = `flowSets[${number}].packets[${index}]`;
      const exception = EXCEPTIONS.find(each => each[0] === number && each[1] === index);
      if (exception === undefined) t.strictSame({ flow, fwmark: fwmark ?? -1 }, chosen, name);
      else t.notSame({ flow, fwmark: fwmark ?? -1 }, chosen, `${name}: ${exception[2]}`);
    }
  }
});

t.test('fwmark: the hash of plain packets is that of nfqlb', async t => {
  const plain = vectors.packets.filter(({ kind }) => ['tcp', 'udp', 'sctp'].includes(kind));
  let compared = 0;
  for (const { kind, hex, s1, s2 } of plain) {
    const bytes = Buffer.from(hex, 'hex');
    const ipv4 = bytes[0]! >> 4 === 4;
    const at = ipv4 ? (bytes[0]! & 15) * 4 : 40;
    const protocol = { tcp: 6, udp: 17, sctp: 132 }[kind]!;
    if (bytes[ipv4 ? 9 : 6] !== protocol || bytes.length < at + 4 || s1.hash === null) continue;
    const destinationPort = bytes.readUInt16BE(at + 2);
    const mapped = (address: Buffer) =>
      Uint8Array.from([...new Array<number>(10).fill(0), 255, 255, ...address]);
    const tuple = {
      source: ipv4 ? mapped(bytes.subarray(12, 16)) : bytes.subarray(8, 24),
      destination: ipv4 ? mapped(bytes.subarray(16, 20)) : bytes.subarray(24, 40),
      protocol,
      sourcePort: bytes.readUInt16BE(at),
      destinationPort,
    };
    t.equal(hashOf(tuple, true), s1.hash);
    if (destinationPort !== vectors.scenarios.s2.sctp_encap) t.equal(hashOf(tuple, false), s2.hash);
    compared++;
  }
  t.ok(compared > 50, `${compared} packets`);
});

t.test("primebelow: the core's primes", async t => {
  const core = instantiateCore(compileCore(), createMemory(0x100000));
  for (let n = 4; n < 2000; n++) if (primeBelow(n) !== core.primeAtMost(n)) t.fail(`${n}`);
  for (const n of [9_999, 65_536, 993_997, 1_000_000, 10_000_000])
    t.equal(primeBelow(n), core.primeAtMost(n), `${n}`);
});
