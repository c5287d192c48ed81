/** Decisions for a sequence of packets, later fragments as their first. */
import type { Decision, Simulator } from './simulator.js';

/** First fragments that are surely remembered; those before them are forgotten a generation at a time. */
const REMEMBERED_FIRSTS = 65_536;

const NOT_IP: Decision = {
  reason: 'not-ip',
  flow: null,
  stream: null,
  hash: null,
  identifier: null,
  fwmark: null,
};

export class Replay {
  private firsts = new Map<string, Decision>();
  private formerFirsts = new Map<string, Decision>();

  constructor(private readonly simulator: Simulator) {}

  /** @param packet from the IP header on, null if there is none; @param wireLength its length before it was cut short */
  decide(packet: Uint8Array | null, wireLength: number): Decision {
    if (packet === null) return NOT_IP;
    const decision = this.simulator.decide(packet, wireLength);
    const { fragment } = this.simulator;
    if (fragment === null) return decision;
    const { packet: whole } = fragment;
    if (!fragment.first) return this.firsts.get(whole) ?? this.formerFirsts.get(whole) ?? decision;
    if (this.firsts.size === REMEMBERED_FIRSTS) {
      this.formerFirsts = this.firsts;
      this.firsts = new Map();
    }
    this.firsts.set(whole, decision);
    return decision;
  }
}
