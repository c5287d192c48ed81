/** What two port NATs, or one and the VIPs, cannot have in common: the kernel rewrites without memory of connections. */
import type { PortNat, Prefix } from '../types/config.js';
import { covers, prefixText } from './address.js';

/** @returns one line per fault */
export function checkPortNats(nats: readonly PortNat[], vips: readonly Prefix[]): string[] {
  return nats.flatMap((nat, index) => {
    const at = `portNats[${index}]`;
    const faults: string[] = [];
    if (nat.port === nat.targetPort) faults.push(`${at}.targetPort: ${nat.targetPort} is the port itself`);
    for (const [position, vip] of nat.vips.entries()) {
      if (!vips.some(own => own.length <= vip.length && overlap(own, vip)))
        faults.push(`${at}.vips[${position}]: ${prefixText(vip)} is not within vips`);
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
  if (nat.protocol !== other.protocol || !nat.vips.some(vip => other.vips.some(its => overlap(vip, its))))
    return null;
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
