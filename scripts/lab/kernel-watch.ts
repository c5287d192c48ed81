/** What the kernel of a namespace told, and when: `ip -tshort monitor`, for measuring from one event to another. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Topology } from './topology.js';
import { waitFor } from './wait.js';

export interface WatchedEvent {
  /** Wall clock, ms since 1970; those of several namespaces can be compared. */
  readonly at: number;
  /** For example `Deleted 20.0.0.1 via 169.254.100.149 dev ext-vlan0 proto bird metric 32`. */
  readonly text: string;
}

type Object = 'link' | 'address' | 'route' | 'rule' | 'neigh';

const READY_MS = 60_000;
let watches = 0;

export class KernelWatch {
  private constructor(private readonly logFile: string) {}

  /** Returns when no event is missed any more. It ends with the topology. */
  static async start(topology: Topology, namespace: string, ...objects: Object[]): Promise<KernelWatch> {
    const logFile = join(topology.directory, `watch-${watches++}.log`);
    const argv = ['ip', '-tshort', '-oneline', 'monitor', ...objects];
    const child = topology.processes.start([...Topology.inside(namespace), ...argv], logFile);
    await waitFor('the monitor to listen', READY_MS, () => {
      if (child.exitCode !== null) throw new Error(`ip monitor ended: ${readFileSync(logFile, 'utf8')}`);
      return isSubscribed(child.pid!);
    });
    return new KernelWatch(logFile);
  }

  events(): WatchedEvent[] {
    return readFileSync(this.logFile, 'utf8')
      .split('\n')
      .flatMap(line => {
        const match = /^\[(?<at>[0-9T:.-]+)\] (?<text>.*)$/.exec(line)?.groups;
        // The time is local.
        return match === undefined ? [] : [{ at: new Date(match.at!).getTime(), text: match.text!.trim() }];
      });
  }

  /** The first event at `since` or later that `matches`. */
  async first(what: string, matches: RegExp, boundMs: number, since = 0): Promise<WatchedEvent> {
    return waitFor(what, boundMs, () =>
      this.events().find(({ at, text }) => at >= since && matches.test(text)),
    );
  }
}

/** Whether the process has a netlink socket with groups; its port is the process's id (netlink(7)). */
function isSubscribed(pid: number): boolean {
  const lines = readFileSync(`/proc/${pid}/net/netlink`, 'utf8').split('\n');
  return lines.some(line => {
    const [, , port, groups] = line.trim().split(/\s+/);
    return Number(port) === pid && /[1-9a-f]/.test(groups ?? '');
  });
}
