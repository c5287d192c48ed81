/** Decisions for a sequence of packets, later fragments as their first. */
import type { Decision, Simulator } from './simulator.js';

/** First fragments that are remembered: the oldest is forgotten first. */
const MOST_FIRSTS = 65_536;

const NOT_IP: Decision = {
  reason: 'not-ip',
  flow: null,
  stream: null,
  hash: null,
  identifier: null,
  fwmark: null,
};

export class Replay {
  private readonly firsts = new Map<string, Decision>();

  constructor(private readonly simulator: Simulator) {}

  /** @param packet from the IP header on, null if there is none; @param wireLength its length before it was cut short */
  decide(packet: Uint8Array | null, wireLength: number): Decision {
    if (packet === null) return NOT_IP;
    const decision = this.simulator.decide(packet, wireLength);
    const { fragment } = this.simulator;
    if (fragment === null) return decision;
    if (!fragment.first) return this.firsts.get(fragment.packet) ?? decision;
    // Set anew, so that it is the youngest.
    this.firsts.delete(fragment.packet);
    this.firsts.set(fragment.packet, decision);
    if (this.firsts.size > MOST_FIRSTS) this.firsts.delete(this.firsts.keys().next().value!);
    return decision;
  }
}
