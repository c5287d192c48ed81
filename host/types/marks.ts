/** Numbers that are spoken for: no stream's marks and tables may be among them. It imports nothing. */

/** All bits of a mark. */
export const WHOLE_MARK = 0xffffffff;

/** A mark or a mask as `ip rule` prints it. */
export function hexadecimal(mark: number): string {
  return `0x${mark.toString(16)}`;
}

/**
 * Mark that leads packets into the queue on kernels without nftables' `queue`, unless `queueMark` says another. It never
 * leaves the host. One bit that no well-known software sets, and a number that no target can have.
 */
export const QUEUE_MARK = 0x1000;
/** That of versions before `queueMark`. */
export const FORMER_QUEUE_MARK = 0x4d61676d;
/**
 * Bits that well-known software sets by a mask: Calico, Tailscale, Weave (0xffff0000), kube-proxy (0xc000), the portmap
 * plugin (0x2000), Cilium (0xf00), the AWS VPC plugin (0x80).
 */
export const FOREIGN_BITS = 0xffffef80;
/** Routing table of what leaves with a VIP as its source. */
export const EGRESS_TABLE = 4096;
/** Routing table with a blackhole: what has a VIP as its source and no gateway. */
export const BLACKHOLE_TABLE = 4097;
/** The kernel's own tables: default, main, local (linux/rtnetlink.h). */
export const KERNEL_TABLES = { first: 253, main: 254, last: 255 } as const;
