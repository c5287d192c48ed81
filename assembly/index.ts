/** What the core offers: the export list. The layout of its memory is in `layout.ts`. */
export { decide, rest } from './decide';
export { follow } from './fragment';
export { populate, populateScratchBytes, primeAtMost } from './maglev';
export { AxisOf, Check, IpProtocol, KindOf, Layout, Limit, Protocols, Region } from './layout';
export { Reason } from './reason';
export { timed } from './timing';
export { trace } from './trace';
