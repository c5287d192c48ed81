/** The whole decision of the core against the plain reference, on random flow sets and packets aimed at them. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { Simulator } from '../../host/simulator/simulator.js';
import { configOf } from '../fixture/config.js';
import { Reference } from '../reference/flow.js';
import { check } from './check.js';
import { flowSet } from './flow-set.js';
import { damage, packetSpec, render } from './packet.js';

const PAIRS = 100_000;
const RUNS_A_ROUND = 250;

const aimed = fc.array(fc.tuple(packetSpec(2), damage), { minLength: 1, maxLength: 60, size: 'max' });

t.test(
  'core and reference agree in every field, for at least 100,000 pairs of flow set and packet',
  async t => {
    const simulator = Simulator.fromConfig(configOf({}));
    const reasons: Record<string, number> = {};
    const decided: Record<string, number> = { transport: 0, encapsulated: 0, message: 0, error: 0, other: 0 };
    let byteMatched = 0;
    let pairs = 0;
    const property = fc.asyncProperty(flowSet, aimed, async (config, packets) => {
      await simulator.configure(config);
      const reference = new Reference(config);
      for (const [spec, harm] of packets) {
        const { packet, wireLength } = render(spec, config, harm);
        const expected = reference.decide(packet, wireLength);
        const found = simulator.decide(packet, wireLength);
        pairs++;
        reasons[found.reason] = (reasons[found.reason] ?? 0) + 1;
        if (found.reason === 'ok') decided[spec.body.kind]!++;
        const flow = config.flows.find(({ name }) => name === found.flow);
        if (flow !== undefined && flow.byteMatches.length > 0) byteMatched++;
        assert.deepEqual(found, expected, `${Buffer.from(packet).toString('hex')} of ${wireLength} bytes`);
      }
    });
    for (let round = 0; pairs < PAIRS; round++) await check(property, RUNS_A_ROUND, round);
    t.comment(`${pairs} pairs`, reasons, { decided, byteMatched });
    for (const reason of [
      'ok',
      'no-flow',
      'no-target',
      'not-ip',
      'truncated',
      'bad-header',
      'headers-too-deep',
      'fragment-without-first',
    ])
      t.ok((reasons[reason] ?? 0) > 0, `${reason} occurred`);
    t.ok(reasons.ok! > pairs / 10, 'packets reach their flows');
    for (const [kind, count] of Object.entries(decided)) t.ok(count > 500, `${kind} packets reach a target`);
    t.ok(byteMatched > 1_000, 'flows with statements about bytes match');
  },
);
