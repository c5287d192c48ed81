/** Sets of flows, and the flow that nfqlb chose for each packet. */
import t from 'tap';
import { loadConfig } from '../../host/config/load.js';
import { orderedFlows } from '../../host/core/image-parts.js';
import { Simulator } from '../../host/simulator/simulator.js';
import type { Config } from '../../host/types/config.js';
import { configOf } from '../fixture/config.js';
import { configTextOf, EXCEPTIONS, MOVED, type VectorFlowSet, vectors } from '../fixture/vectors.js';
import { Reference } from '../reference/flow.js';

/** As an operator would write it: through text, validation and all. */
const configOfSet = (set: VectorFlowSet, order?: 'written'): Config =>
  loadConfig(configTextOf(set, order), 'set.yaml');

const simulator = Simulator.fromConfig(configOf({}));

t.test('flows stand in the order of nfqlb, save those that were set again with another priority', async t => {
  for (const [index, set] of vectors.flowSets.entries()) {
    const moved = MOVED[index] ?? [];
    const stayed = (names: readonly string[]) => names.filter(name => !moved.includes(name.replace('#', '')));
    const inFileOrder = orderedFlows(configOfSet(set, 'written')).map(({ name }) => name);
    t.strictSame(stayed(inFileOrder), stayed(set.order), `flowSets[${index}]`);
    t.equal(inFileOrder.join() === set.order.join(), moved.length === 0, `flowSets[${index}] needs its list`);
    t.strictSame(
      orderedFlows(configOfSet(set)).map(({ name }) => name),
      set.order,
    );
  }
});

t.test('every packet gets the flow and the mark that nfqlb gave it', async t => {
  for (const [setIndex, set] of vectors.flowSets.entries()) {
    const config = configOfSet(set);
    const reference = new Reference(config);
    await simulator.configure(config);
    for (const [index, packet] of set.packets.entries()) {
      const bytes = Buffer.from(packet.hex, 'hex');
      const { flow, fwmark } = simulator.decide(bytes);
      const exception = EXCEPTIONS.find(each => each[0] === setIndex && each[1] === index);
      const chosen = { flow: packet.flow, fwmark: packet.fwmark };
      const name = `flowSets[${setIndex}].packets[${index}] ${packet.kind}`;
      if (exception === undefined) t.strictSame({ flow, fwmark: fwmark ?? -1 }, chosen, name);
      else t.notSame({ flow, fwmark: fwmark ?? -1 }, chosen, `${name}: ${exception[2]}`);
      t.strictSame(simulator.decide(bytes), reference.decide(bytes), `${name}: the reference`);
    }
  }
});

t.test('every prefix of every packet gets the reason of the reference', async t => {
  for (const [setIndex, set] of vectors.flowSets.entries()) {
    const config = configOfSet(set);
    const reference = new Reference(config);
    await simulator.configure(config);
    const others: string[] = [];
    for (const { hex } of set.packets) {
      const bytes = Buffer.from(hex, 'hex');
      for (let length = 0; length <= bytes.length; length++) {
        const cut = bytes.subarray(0, length);
        const found = simulator.decide(cut).reason;
        const expected = reference.decide(cut).reason;
        if (found !== expected) others.push(`${cut.toString('hex')}: ${found}, not ${expected}`);
      }
    }
    t.strictSame(others, [], `flowSets[${setIndex}]`);
  }
});
