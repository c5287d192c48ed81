/**
 * What happens in the kernel, as `ip monitor` and `nft monitor` tell it: a reason to look, never the truth itself. Should
 * one of them end, it is started again; then, and when the kernel had more to tell than it could take, everything is looked
 * at.
 */
import { isIP } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { Child } from '../programs/child.js';
import { addressKey } from '../types/address.js';
import { KERNEL_TABLES } from '../types/marks.js';
import { TABLES } from './nft.js';
import { mangleTable } from './ruleset.js';

/**
 * - `links`: links or addresses, or what is local to this host; `rules`: rules of policy routing; `settings`: sysctls of forwarding or of rp_filter;
 * - `routes`: of `table` (null: main); `direct`: without a router, so that it may tell who is on-link;
 * - `ruleset`: nftables tables of our names, or the mangle tables; `foreign`: chains or rules of others;
 * - `neighbour`: an entry came, went or changed its state;
 * - `lost`: events may have been missed.
 */
export type KernelEvent =
  | { readonly kind: 'links' | 'rules' | 'settings' | 'ruleset' | 'foreign' | 'lost' }
  | { readonly kind: 'routes'; readonly table: number | null; readonly direct: boolean }
  | {
      readonly kind: 'neighbour';
      /** As `addressKey` gives it. */
      readonly address: string;
      /** `evicted`: gone by the kernel's housekeeping, and not by another hand. */
      readonly state: 'valid' | 'resolving' | 'failed' | 'gone' | 'evicted';
      /** Link-layer address, or null. */
      readonly linkAddress: string | null;
      /** By the hand of an administrator: the kernel does not verify it. */
      readonly permanent: boolean;
    };

export interface MonitorOptions {
  readonly onEvent: (event: KernelEvent) => void;
  /** A monitor ended, and how. */
  readonly onEnd: (program: string, how: string) => void;
  readonly start?: typeof Child.start;
}

/** A program that cannot run here is not started in a heap; one that has run for this long starts again at once. */
const RESTART_MS = 1000;

/** A monitor listens this long after its start, unless the machine is very loaded: then the slow check finds what it missed. */
const LISTENS_MS = 500;

const IP_ARGS = ['-N', '-o', 'monitor', 'link', 'address', 'route', 'rule', 'neigh', 'netconf'];

export class KernelMonitor {
  private readonly children = new Map<string, Child>();
  private readonly stopped = new AbortController();

  private constructor(private readonly options: MonitorOptions) {}

  static start(options: MonitorOptions): KernelMonitor {
    const monitor = new KernelMonitor(options);
    const report = (event: KernelEvent | null): void => {
      if (event !== null) options.onEvent(event);
    };
    // ip goes on when the kernel had more to tell than it could take, and complains of that alone.
    monitor.keep(
      'ip',
      IP_ARGS,
      line => report(ipEvent(line)),
      () => options.onEvent({ kind: 'lost' }),
    );
    // nft complains of events about sets that it does not know, also of those that came after its start: they may be ours.
    const onComplaint = (): void => options.onEvent({ kind: 'ruleset' });
    monitor.keep('nft', ['monitor'], line => report(nftEvent(line)), onComplaint);
    return monitor;
  }

  async stop(): Promise<void> {
    this.stopped.abort();
    await Promise.all([...this.children.values()].map(child => child.stop(1000)));
  }

  /** Run `program`, and again when it has ended. */
  private async keep(
    program: string,
    args: readonly string[],
    onLine: (line: string) => void,
    onComplaint: () => void = () => {},
  ): Promise<void> {
    const { signal } = this.stopped;
    const start = this.options.start ?? Child.start;
    while (!signal.aborted) {
      const words: string[] = [];
      const onErrorLine = (line: string): void => {
        // The last one tells how it ended.
        words.splice(0, words.length, line);
        onComplaint();
      };
      const began = performance.now();
      const child = start(program, args, { onLine, onErrorLine });
      this.children.set(program, child);
      const how = await child.ended;
      if (signal.aborted) return;
      this.options.onEnd(`${program} monitor`, [how, ...words].join(': '));
      const restMs = performance.now() - began < RESTART_MS ? RESTART_MS : 0;
      await delay(restMs, null, { signal }).catch(() => null);
      // What happens before its successor listens is told by no event: see the second look.
      this.options.onEvent({ kind: 'lost' });
      void delay(LISTENS_MS, null, { signal }).then(
        () => this.options.onEvent({ kind: 'lost' }),
        () => null,
      );
    }
  }
}

/** What a line of `ip -N -o monitor` tells; null: nothing of interest. */
export function ipEvent(line: string): KernelEvent | null {
  const words = line
    .replace(/^Deleted /, '')
    .trimEnd()
    .split(/\s+/);
  const [first = ''] = words;
  // `99:` and a tab begin a rule, `3:` and a space a link or an address.
  if (/^(Deleted )?\d+:\t/.test(line)) return { kind: 'rules' };
  if (/^\d+:$/.test(first)) return { kind: 'links' };
  if (first === 'inet' || first === 'inet6') return { kind: 'settings' };
  const state = neighbourState(words.at(-1)!);
  if (state !== null && words[1] === 'dev') {
    if (isIP(first) === 0) return null;
    // Who deletes an entry has it fail first.
    const gone = state === 'valid' ? 'evicted' : 'gone';
    const at = words.indexOf('lladdr');
    return {
      kind: 'neighbour',
      address: addressKey(first),
      state: line.startsWith('Deleted ') ? gone : state,
      linkAddress: at < 0 ? null : words[at + 1]!,
      permanent: words.at(-1) === 'PERMANENT',
    };
  }
  // A type that is no unicast comes first, by -N as its number: `6 default table 4097` is a blackhole.
  const typed = /^\d+$/.test(first);
  if (!typed && !words.includes('dev') && !words.includes('nexthop') && !words.includes('blackhole'))
    return null;
  const at = words.indexOf('table');
  if (words[at + 1] === LOCAL) return { kind: 'links' };
  const direct = !words.includes('via') && !words.includes('nexthop') && !words.includes('default');
  return { kind: 'routes', table: at < 0 ? null : Number(words[at + 1]), direct };
}

const LOCAL = String(KERNEL_TABLES.last);

/** NUD_* as ip names them. */
function neighbourState(word: string): 'valid' | 'resolving' | 'failed' | null {
  if (word === 'FAILED') return 'failed';
  if (word === 'INCOMPLETE' || word === 'NONE') return 'resolving';
  return ['REACHABLE', 'STALE', 'DELAY', 'PROBE', 'PERMANENT', 'NOARP'].includes(word) ? 'valid' : null;
}

/** What a line of `nft monitor` tells: it names family and table. */
export function nftEvent(line: string): KernelEvent | null {
  // It goes on when the kernel had more to tell than it could take.
  if (line.startsWith('# ERROR')) return { kind: 'lost' };
  const ours = [...TABLES.map(name => `inet ${name}`), mangleTable(4), mangleTable(6)];
  const table = /^(?:add|delete|insert|replace|destroy) \w+ (\w+ \S+)/.exec(line)?.[1];
  if (table === undefined) return null;
  if (ours.includes(table)) return { kind: 'ruleset' };
  return /^\w+ (?:table|chain|rule) /.test(line) ? { kind: 'foreign' } : null;
}
