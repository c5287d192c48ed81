/** The reference document's configuration as the kernel room takes it. */

import type { WantedKernel, WantedTarget } from '../../host/kernel/wanted.js';
import type { Host } from '../../host/types/config.js';

export function host(address: string): Host {
  return { family: address.includes(':') ? 6 : 4, address };
}

export function target(identifier: number, ...addresses: string[]): WantedTarget {
  return { fwmark: 5000 + identifier, nextHops: addresses.map(host), label: `stream-a-i/${identifier}` };
}

export const EXAMPLE: WantedKernel = {
  vips: [
    { family: 4, address: '20.0.0.1', length: 32 },
    { family: 6, address: '2000::1', length: 128 },
  ],
  queues: { first: 0, last: 3 },
  queueMark: 0x1000,
  markMask: 0xffffffff,
  interfaces: { external: 'ext-vlan0', internal: ['conduit-a-*'] },
  egress: [4, 6],
  portNats: [],
  fragments: 'kernel',
  targets: [
    target(69, '172.16.0.6', 'fd00::6'),
    target(62, '172.16.0.8', 'fd00::8'),
    target(44, '172.16.1.6', 'fd00:0:0:1::6'),
    target(73, '172.16.1.8', 'fd00:0:0:1::8'),
  ],
  markRanges: [{ first: 5001, last: 5100 }],
  unmatchedMarks: [],
};
