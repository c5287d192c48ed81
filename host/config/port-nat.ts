/** What two port NATs, or one and the VIPs, cannot have in common: the kernel rewrites without memory of connections. */
import type { PortNat, Prefix } from '../types/config.js';
import { covers, heldByAny, prefixText } from './address.js';

/** Each is compared with each other one: so many take a second. */
const MOST_VIPS = 4096;

/** @returns one line per fault */
export function checkPortNats(nats: readonly PortNat[], vips: readonly Prefix[]): string[] {
  const count = nats.reduce((sum, nat) => sum + nat.vips.length, 0);
  if (count > MOST_VIPS) return [`portNats: ${count} VIPs in all, and at most ${MOST_VIPS} are possible`];
  const isSteered = heldByAny(vips);
  return nats.flatMap((nat, index) => {
    const at = `portNats[${index}]`;
    const faults: string[] = [];
    if (nat.port === nat.targetPort) faults.push(`${at}.targetPort: ${nat.targetPort} is the port itself`);
    for (const [position, vip] of nat.vips.entries()) {
      if (!isSteered(vip)) faults.push(`${at}.vips[${position}]: ${prefixText(vip)} is not within vips`);
    }
    for (const [before, other] of nats.slice(0, index).entries()) {
      const fault = collision(nat, other);
      if (fault !== null) faults.push(`${at}: ${fault} portNats[${before}]`);
    }
    return faults;
  });
}

/** What makes `nat` and `other` ambiguous, worded to stand before the other's name; null: nothing. */
function collision(nat: PortNat, other: PortNat): string | null {
  if (nat.protocol !== other.protocol) return null;
  // Ports first: VIPs take longer to compare.
  const fault = portCollision(nat, other);
  return fault !== null && nat.vips.some(vip => other.vips.some(its => overlap(vip, its))) ? fault : null;
}

function portCollision(nat: PortNat, other: PortNat): string | null {
  if (nat.port === other.port)
    return `${nat.protocol} port ${nat.port} of these VIPs is translated already by`;
  // An answer from this port could belong to either.
  if (nat.targetPort === other.targetPort)
    return `${nat.protocol} target port ${nat.targetPort} of these VIPs is that of`;
  // One translation would be taken up by the other.
  if (nat.port === other.targetPort)
    return `${nat.protocol} port ${nat.port} of these VIPs is the target port of`;
  if (nat.targetPort === other.port)
    return `${nat.protocol} target port ${nat.targetPort} of these VIPs is the port of`;
  return null;
}

/** Of two prefixes one holds the other, or they are disjoint. */
function overlap(one: Prefix, other: Prefix): boolean {
  const [wide, narrow] = one.length <= other.length ? [one, other] : [other, one];
  return covers(wide, narrow);
}
