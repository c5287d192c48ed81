/** Neighbours that the kernel was made to forget from here: it tells that a moment later, as if somebody else had done it. */
import { addressKey } from '../types/address.js';
import type { Host } from '../types/config.js';

/** What the kernel tells of it comes within, in ms. */
const TOLD_MS = 1000;

export class Forgotten {
  /** When, by `addressKey`. */
  private readonly at = new Map<string, number>();

  add(hosts: readonly Host[]): void {
    const now = performance.now();
    for (const [address, at] of this.at) if (at <= now - TOLD_MS) this.at.delete(address);
    for (const { address } of hosts) this.at.set(addressKey(address), now);
  }

  /** @returns whether it was forgotten from here; it is told once */
  take({ address }: Host): boolean {
    const key = addressKey(address);
    const at = this.at.get(key);
    this.at.delete(key);
    return at !== undefined && at >= performance.now() - TOLD_MS;
  }
}
