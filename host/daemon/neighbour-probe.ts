/**
 * Whether targets that carry traffic still have the link-layer addresses that the kernel sends to. The kernel itself asks 15 to
 * 45 s after the last answer, and gives the address up 8 s later. Here they are asked by unicast, some hundreds a second at most.
 */
import type { NextHop } from '../kernel/wanted.js';
import { addressKey } from '../types/address.js';
import type { Host } from '../types/config.js';
import type { Log } from './log.js';

export interface NeighbourProbeOptions {
  readonly log: Pick<Log, 'error'>;
  /** All targets, with the packets that were sent to each so far. */
  readonly targets: () => Iterable<CountedTarget>;
  /** Have the kernel ask `hops` by unicast, and act on those of `before` that have not answered. */
  readonly probe: (hops: readonly NextHop[], before: readonly NextHop[]) => Promise<void>;
  readonly tickMs?: number;
  readonly mostATick?: number;
}

export interface CountedTarget {
  readonly label: string;
  readonly ips: readonly Host[];
  readonly packets: number;
}

/**
 * A neighbour is asked at one tick, and found silent at the next: of up to `MOST_A_TICK` neighbours with traffic each is found
 * within two ticks and what the commands take.
 */
const TICK_MS = 1500;
/** 1,000 targets in both families take two ticks. */
const MOST_A_TICK = 1000;

export class NeighbourProbe {
  private hops = new Map<string, NextHop>();
  private readonly packets = new Map<string, number>();
  /** In the order in which they are asked; those that did not fit the last tick come first. */
  private readonly due = new Map<string, NextHop>();
  private asked: readonly NextHop[] = [];
  private timer: NodeJS.Timeout | null = null;
  private stopped = false;

  constructor(private readonly options: NeighbourProbeOptions) {}

  start(): void {
    if (this.stopped) return;
    this.timer = setTimeout(() => {
      this.tick()
        .catch((error: Error) =>
          this.options.log.error({ err: error }, 'neighbours of targets could not be probed'),
        )
        .finally(() => this.start());
    }, this.options.tickMs ?? TICK_MS);
  }

  stop(): void {
    this.stopped = true;
    if (this.timer !== null) clearTimeout(this.timer);
  }

  /** Next hops of targets that can be reached. */
  keep(hops: readonly NextHop[]): void {
    this.hops = new Map(hops.map(hop => [addressKey(hop.address), hop]));
  }

  /** One turn; the timer calls it. */
  async tick(): Promise<void> {
    this.findBusy();
    const taken = [...this.due].slice(0, this.options.mostATick ?? MOST_A_TICK);
    for (const [address] of taken) this.due.delete(address);
    const hops = taken.map(([, hop]) => hop);
    const before = this.asked;
    this.asked = hops;
    if (hops.length + before.length > 0) await this.options.probe(hops, before);
  }

  /** Targets that have been sent packets since the last tick. */
  private findBusy(): void {
    const present = new Set<string>();
    for (const { label, ips, packets } of this.options.targets()) {
      present.add(label);
      const isBusy = packets !== (this.packets.get(label) ?? 0);
      this.packets.set(label, packets);
      if (!isBusy) continue;
      for (const { address } of ips) {
        const key = addressKey(address);
        const hop = this.hops.get(key);
        if (hop !== undefined && !this.due.has(key)) this.due.set(key, hop);
      }
    }
    for (const label of this.packets.keys()) if (!present.has(label)) this.packets.delete(label);
    for (const key of this.due.keys()) if (!this.hops.has(key)) this.due.delete(key);
  }
}
