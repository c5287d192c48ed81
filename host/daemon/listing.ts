/** What the published image holds, in our terms and in nfqlb's: for `magmark run` and `nfqlb flowlb`. */
import type {
  FlowReply,
  FragmentsReply,
  NfqlbFlowReply,
  NfqlbStreamReply,
  SlotReply,
  StreamReply,
} from '../control/api.js';
import { flowReply, nfqlbFlowReply } from '../control/flow-reply.js';
import { RequestError } from '../control/server.js';
import { fragmentCounts, reasonCounts } from '../core/counters.js';
import type { ImageStore } from '../core/image.js';
import type { Flow } from '../types/config.js';
import { shareReplies } from './shares.js';

/** What nfqlb calls a flow and a stream. */
export interface ListedNames {
  flow(flow: Flow): string;
  stream(name: string): string;
}

/** Slots that `nfqlb show` prints. */
const LOOKUP_SLOTS = 25;
const EMPTY = 0xffff;

/** In the order in which they are tried; hidden ones, for UDP encapsulation, too. */
export function flowReplies(images: ImageStore): FlowReply[] {
  return images.current!.flows.map(({ name, flow, hidden }) =>
    flowReply(flow, hidden, images.counters.read(name)),
  );
}

export function nfqlbFlowReplies(images: ImageStore, names: ListedNames): NfqlbFlowReply[] {
  return images.current!.flows.map(({ name, flow, hidden }) =>
    nfqlbFlowReply(flow, {
      name: names.flow(flow),
      hidden,
      userRef: hidden ? 'NULL' : names.stream(flow.stream),
      matchesCount: images.counters.read(name),
    }),
  );
}

export function streamReplies(images: ImageStore): StreamReply[] {
  return images.current!.streams.map(image => {
    const shares = shareReplies(images, image);
    return {
      name: image.stream.name,
      tableSize: image.tableSize,
      maxTargets: image.stream.maxTargets,
      packets: [...shares.values()].reduce((sum, { packets }) => sum + packets, 0),
      active: image.active.map(({ identifier, fwmark }) => ({
        identifier,
        fwmark,
        ...shares.get(identifier)!,
      })),
    };
  });
}

/** @param own nfqlb's own mark of a stream */
export function nfqlbStreamReplies(
  images: ImageStore,
  names: ListedNames,
  own: (stream: string) => number,
): NfqlbStreamReply[] {
  return images.current!.streams.map(image => ({
    name: names.stream(image.stream.name),
    own: own(image.stream.name),
    tableSize: image.tableSize,
    maxTargets: image.stream.maxTargets,
    lookup: [...images.table(image).subarray(0, LOOKUP_SLOTS)].map(indexOf),
    active: image.active.map(target => ({ index: target.identifier - 1, fwmark: target.fwmark })),
  }));
}

/** Who has the slot of a hash. @throws RequestError */
export function slotReply(images: ImageStore, names: ListedNames, query: URLSearchParams): SlotReply {
  const [name, text] = [query.get('stream'), query.get('hash')];
  const { streams } = images.current!;
  const image = streams.find(each => names.stream(each.stream.name) === name);
  if (image === undefined)
    throw unknownStream(
      name ?? '',
      streams.map(each => names.stream(each.stream.name)),
    );
  const hash = text === null || !/^[0-9]{1,10}$/.test(text) ? Number.NaN : Number(text);
  if (!(hash <= 0xffffffff)) throw new RequestError(400, `hash ${text} is not a number of 32 bits`);
  const slot = hash % image.tableSize;
  const index = indexOf(images.table(image)[slot]!);
  const target = image.active.find(each => each.identifier - 1 === index);
  return { slot, index, fwmark: target?.fwmark ?? -1 };
}

export function unknownStream(name: string, names: readonly string[]): RequestError {
  const known = names.length === 0 ? 'there is none' : `there are: ${names.join(', ')}`;
  return new RequestError(404, `there is no shm ${name}; ${known}`);
}

export function fragmentsReply({ core, memory, workers }: ImageStore): FragmentsReply {
  const { FragmentSets, FragmentWays } = core.Limit;
  const all = Array.from({ length: workers }, (_, worker) => ({
    ...fragmentCounts(core, memory, worker),
    discarded: reasonCounts(core, memory, worker)[core.Reason.FragmentWithoutFirst]!,
  }));
  const sum = (key: Exclude<keyof (typeof all)[number], 'timeoutMs'>): number =>
    all.reduce((total, each) => total + each[key], 0);
  return {
    tableSize: FragmentSets * FragmentWays * workers,
    timeoutMs: all[0]!.timeoutMs,
    mostHeld: sum('mostHeld'),
    tracked: sum('tracked'),
    collided: sum('collided'),
    evicted: sum('evicted'),
    reused: sum('reused'),
    later: sum('later'),
    held: sum('held'),
    discarded: sum('discarded'),
  };
}

function indexOf(slot: number): number {
  return slot === EMPTY ? -1 : slot;
}
