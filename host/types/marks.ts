/** Numbers that are spoken for: no stream's marks and tables may be among them. It imports nothing. */

/** Mark that leads packets into the queue on kernels without nftables' `queue` ("Magm"). It never leaves the host. */
export const RESERVED_MARK = 0x4d61676d;
/** Routing table of what leaves with a VIP as its source. */
export const EGRESS_TABLE = 4096;
/** Routing table with a blackhole: what has a VIP as its source and no gateway. */
export const BLACKHOLE_TABLE = 4097;
/** The kernel's own tables: default, main, local (linux/rtnetlink.h). */
export const KERNEL_TABLES = { first: 253, main: 254, last: 255 } as const;
