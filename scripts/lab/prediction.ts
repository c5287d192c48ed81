/** What the core says offline about connections that are made for real. */
import { loadConfig } from '../../host/config/load.js';
import { Simulator } from '../../host/simulator/simulator.js';
import { type Connection, synPacket } from './syn.js';

export class Prediction {
  private readonly simulator: Simulator;

  /** @param text of a configuration; @param name for its faults */
  constructor(text: string, name: string) {
    this.simulator = Simulator.fromConfig(loadConfig(text, name));
  }

  /** Identifier of the target, or null: the packet is dropped. */
  target(connection: Connection): number | null {
    return this.simulator.decide(synPacket(connection)).identifier;
  }

  /** Slots of a stream's table by the identifier of their owner. */
  slots(stream: string): Map<number, number> {
    const counts = new Map<number, number>();
    for (const index of this.simulator.table(stream)) counts.set(index + 1, (counts.get(index + 1) ?? 0) + 1);
    return counts;
  }
}
