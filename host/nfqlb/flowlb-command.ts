/** `flowlb`: the command line of the dataplane alone. The dataplane itself is loaded when its arguments are right. */
import { dirname } from 'node:path';
import { parseQueues } from '../config/range.js';
import { makeDirectory } from '../control/socket.js';
import { lockSocket } from '../lock/namespace-lock.js';
import { type Command, socketOf } from './command.js';
import { type Arguments, UsageError, wholeNumber } from './options.js';

const MAX_MARK = 0xffffffff;
const MAX_QUEUE_LENGTH = 1_000_000;
/** The least that every IPv4 host takes (RFC 791); nfqlb refuses less. */
const LEAST_MTU = 576;
const MAX_MTU = 65535;
const MAX_COUNT = 0x7fffffff;

/** What nfqlb does with fragments besides. */
const FRAGMENT_OPTIONS = {
  lbshm: 'fragments go through a tier of load balancers',
  reassembler: 'fragments are reassembled',
} as const;

/** -1: none. @throws UsageError */
function markOf({ values }: Arguments, name: string): number | null {
  const mark = wholeNumber(`--${name}`, values.get(name) ?? '-1', -1, MAX_MARK);
  return mark === -1 ? null : mark;
}

/** @throws UsageError */
function queuesOf({ values }: Arguments): { first: number; last: number } {
  const queues = parseQueues(values.get('queue') ?? '2');
  if (typeof queues === 'string') throw new UsageError(`--queue: ${queues}`);
  return queues;
}

/** What was asked for and is not done here, in words. */
function notDone({ values }: Arguments): string[] {
  return Object.entries(FRAGMENT_OPTIONS).flatMap(([name, means]) => {
    const value = values.get(name);
    return value === undefined || (name === 'reassembler' && Number(value) === 0)
      ? []
      : [`--${name} (${means})`];
  });
}

export const flowlbCommand: Command = {
  usage: '[options]\n  Decide packets of netfilter queues by flows: the dataplane alone, in the foreground',
  options: {
    lbshm: { help: 'stream of the tier of load balancers, for fragments', ignored: true },
    mtu: { help: 'at least that of the ingress device; default 1500', ignored: true },
    tun: { help: 'device for held fragments: they stay in the queue', ignored: true },
    reassembler: { help: 'packets that are reassembled at a time; default 0', ignored: true },
    promiscuous_ping: { help: 'any flow with a matching address takes a ping', flag: true },
    notargets_fwmark: { help: 'mark where no target is active; default -1: drop' },
    nolb_fwmark: { help: 'mark where no flow matches; default -1: drop' },
    hash_mode: { help: 'of SCTP: 0 five-tuple, 1 ports alone; default 1' },
    queue: { help: 'netfilter queue, or a range first:last; default 2' },
    qlength: { help: 'packets that wait in a queue at most; default 1024' },
    spin: {
      help: 'microseconds that a worker looks again and again before it sleeps, while packets come closer than that; default 0',
    },
    ft_shm: { help: 'name of the fragment table', ignored: true },
    ft_size: { help: 'its size; it has 16384 places a queue', ignored: true },
    ft_buckets: { help: 'its buckets for collisions; it needs none', ignored: true },
    ft_frag: { help: 'fragments that a queue holds, at most 256 and a quarter of qlength; default 100' },
    ft_ttl: { help: 'how long, in milliseconds; default 200' },
    trace_address: { help: "address of nfqlb's trace server", ignored: true },
  },
  async run(args) {
    const number = (name: string, byDefault: number, least: number, most: number): number =>
      wholeNumber(`--${name}`, args.values.get(name) ?? `${byDefault}`, least, most);
    const held = number('ft_frag', 100, 0, MAX_COUNT);
    const ttl = number('ft_ttl', 200, 0, MAX_COUNT);
    const settings = {
      fragmentTimeoutMs: ttl,
      mostHeld: held,
      queues: queuesOf(args),
      queueLength: number('qlength', 1024, 1, MAX_QUEUE_LENGTH),
      queueSpinMicroseconds: number('spin', 0, 0, 1000),
      hashMode: number('hash_mode', 1, 0, 1) === 1 ? ('sctp-ports' as const) : ('five-tuple' as const),
      promiscuousPing: args.values.has('promiscuous_ping'),
      noFlowFwmark: markOf(args, 'nolb_fwmark'),
      noTargetsFwmark: markOf(args, 'notargets_fwmark'),
    };
    const size = number('ft_size', 500, 0, MAX_COUNT);
    const buckets = number('ft_buckets', 500, 0, MAX_COUNT);
    const mtu = number('mtu', 1500, LEAST_MTU, MAX_MTU);
    number('reassembler', 0, 0, MAX_COUNT);
    // nfqlb's first line: scripts may wait for it.
    process.stdout.write(
      `FragTable; size=${size}, buckets=${buckets}, frag=${held}, mtu=${mtu}, ttl=${ttl}\n`,
    );
    const socketPath = socketOf(args);
    makeDirectory(dirname(socketPath));
    const starting = lockSocket(socketPath);
    const { runFlowLb } = await import('../flowlb/run.js');
    await runFlowLb({ settings, socketPath, starting, notDone: notDone(args) });
    return { stdout: '' };
  },
};
