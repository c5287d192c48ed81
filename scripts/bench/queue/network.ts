/**
 * A sender, a balancer and a receiver in network namespaces of their own, with magmark's ruleset, rule and routes between
 * them:
 *
 * sender -- ext-vlan0 [balancer] conduit -- receiver, which owns VIP and PLAIN
 *
 * What goes to VIP is queued; what goes to PLAIN is forwarded by the main table alone, past the same rules.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Carrier, probeCarrier } from '../../../host/kernel/carrier.js';
import { applyMangle, listMangle } from '../../../host/kernel/mangle.js';
import { renderTables } from '../../../host/kernel/nft.js';
import { listTables } from '../../../host/kernel/nft-list.js';
import { applyTables } from '../../../host/kernel/ruleset.js';
import { queueMarkOf } from '../../../host/kernel/wanted.js';
import { type Run, run as runHere } from '../../../host/programs/command.js';
import { QUEUE_MARK, WHOLE_MARK } from '../../../host/types/marks.js';
import { Processes } from '../../lab/processes.js';
import { removeRun } from '../../lab/removal.js';
import { type RunState, STATE_DIRECTORY, saveState, thisProcess } from '../../lab/run-state.js';
import { waitFor } from '../../lab/wait.js';
import type { Compiled, Program } from './compile.js';
import { PLACEMENT } from './placement.js';

export const VIP = '20.0.0.1';
export const PLAIN = '20.0.0.2';
/** The mark that leads to the receiver. */
export const MARK = 5001;
const DISCARD_PORT = 9;
const STREAM_PORT = 5001;
const READY_MS = 5000;

/** Of the balancer's external interface. */
const NEXT_HOP = '02:00:00:00:00:02';
const SENDER = '10.0.0.1';

/** Of target `index` of a stream. */
export const hopOf = (index: number): string => `172.16.0.${2 + index}`;

type Side = 'sender' | 'balancer' | 'receiver';

/** Of the receiver's interface, by the kernel. */
export interface Received {
  readonly packets: number;
  readonly bytes: number;
  /** Milliseconds of the monotonic clock. */
  readonly at: number;
}

export class QueueNetwork {
  readonly processes: Processes;
  private readonly state: RunState;
  private carrier: Carrier | null = null;
  private steered: number | null = null;
  /** Programs that stay there: their /proc shows the namespace's counters. */
  private witnesses = { balancer: 0, receiver: 0 };

  /**
   * @param targets next hops that the receiver answers for, 200 at most, of a daemon that makes rules and routes itself; 0: the
   *                network has them, of one target
   */
  constructor(
    private readonly compiled: Compiled,
    private readonly targets = 0,
  ) {
    const id = `mm-${randomBytes(3).toString('hex')}`;
    this.processes = new Processes(id);
    this.state = {
      id,
      namespaces: [`${id}-snd`, `${id}-lb`, `${id}-rcv`],
      directory: join(STATE_DIRECTORY, id),
      owner: thisProcess(),
      keptFor: null,
    };
  }

  /** Nobody else's name. */
  get id(): string {
    return this.state.id;
  }

  /** For logs; goes with it. */
  get directory(): string {
    return this.state.directory;
  }

  /** The words before a command that is to run there. */
  inside(side: Side): string[] {
    const [sender, balancer, receiver] = this.state.namespaces as [string, string, string];
    return ['ip', 'netns', 'exec', { sender, balancer, receiver }[side]];
  }

  async create(): Promise<void> {
    saveState(this.state);
    mkdirSync(this.directory, { recursive: true, mode: 0o700 });
    const [sender, balancer, receiver] = this.state.namespaces as [string, string, string];
    await this.ip(null, [
      ...this.state.namespaces.map(name => `netns add ${name}`),
      `link add out netns ${sender} type veth peer name ext-vlan0 address ${NEXT_HOP} netns ${balancer}`,
      `link add in netns ${receiver} type veth peer name conduit netns ${balancer}`,
    ]);
    await this.ip('sender', [
      'link set lo up',
      `addr add ${SENDER}/24 dev out`,
      'link set out up',
      'route add default via 10.0.0.2',
    ]);
    await this.ip('receiver', [
      ...['link set lo up', `addr add ${VIP}/32 dev lo`, `addr add ${PLAIN}/32 dev lo`],
      ...['addr add 172.16.0.2/24 dev in', 'link set in up', 'route add default via 172.16.0.1'],
      ...Array.from({ length: this.targets }, (_, index) => `addr replace ${hopOf(index)}/24 dev in`),
    ]);
    await this.settings('balancer', [
      'ip_forward=1',
      'fwmark_reflect=1',
      'conf/all/rp_filter=0',
      'conf/ext-vlan0/rp_filter=0',
      'conf/conduit/rp_filter=0',
      'conf/all/send_redirects=0',
    ]);
    await this.settings('receiver', ['conf/all/rp_filter=0', 'conf/in/rp_filter=0']);
    await this.ip('balancer', [
      ...['link set lo up', 'addr add 10.0.0.2/24 dev ext-vlan0', 'link set ext-vlan0 up'],
      ...[
        'addr add 172.16.0.1/24 dev conduit',
        'link set conduit up',
        `route add ${PLAIN}/32 via 172.16.0.2`,
      ],
      ...(this.targets > 0
        ? []
        : [
            `route add default via 172.16.0.2 table ${MARK}`,
            `rule add fwmark ${MARK} lookup ${MARK} priority 99`,
            'route add default via 10.0.0.1 table 4096',
            `rule add from ${VIP} lookup 4096 priority 100`,
          ]),
    ]);
    // Before routing and sockets: what a receiver does with a packet is not to be measured.
    const drop = `table ip discard { chain early { type filter hook prerouting priority -300; udp dport ${DISCARD_PORT} drop; }; }`;
    await this.processes.command([...this.inside('receiver'), 'nft', drop]);
    const receive = await this.startReady(
      'receiver',
      [this.compiled.programs.stream, 'receive', `${STREAM_PORT}`],
      'listening',
    );
    const stay = this.processes.start([...this.inside('balancer'), 'sleep', 'infinity'], this.log('witness'));
    this.witnesses = { balancer: stay.pid!, receiver: receive.pid! };
    await this.processes.command([...this.inside('sender'), 'ping', '-q', '-c', '1', '-w', '5', PLAIN]);
  }

  /** Start a program that writes `line` when it is ready. */
  async startReady(side: Side, argv: readonly string[], line: string) {
    const child = this.processes.start([...this.inside(side), ...argv], this.log(side), 'pipes');
    let said = '';
    child.stdout!.setEncoding('utf8').on('data', text => {
      said += text;
    });
    await waitFor(`${argv.join(' ')} to be ready (see ${this.log(side)})`, READY_MS, () => {
      if (child.exitCode !== null)
        throw new Error(`${argv.join(' ')} ended: ${readFileSync(this.log(side), 'utf8')}`);
      return said.includes(line);
    });
    return Object.assign(child, { said: () => said });
  }

  log(name: string): string {
    return join(this.directory, `${name}.log`);
  }

  /** Lead what goes to VIP into this queue, by magmark's own ruleset. */
  async steer(queue: number): Promise<void> {
    if (this.steered === queue) return;
    const [, balancer] = this.state.namespaces as [string, string, string];
    const run: Run = (program, args, options) =>
      runHere('nsenter', [`--net=/run/netns/${balancer}`, program, ...args], options);
    this.carrier ??= await probeCarrier(run);
    const queues = { first: queue, last: queue };
    const wanted = {
      vips: [{ family: 4 as const, address: VIP, length: 32 }],
      queues,
      queueMark: QUEUE_MARK,
      markMask: WHOLE_MARK,
      interfaces: { external: 'ext-vlan0', internal: ['conduit'] },
      egress: [],
      portNats: [],
      targets: [],
      // Whatever a program gives: the guard lets it pass.
      markRanges: [{ first: 1, last: 0xffffffff }],
      unmatchedMarks: [],
      fragments: 'kernel' as const,
    };
    await applyTables(run, renderTables(wanted, this.carrier), await listTables(run), true);
    const rules = this.carrier.mangleRules(queues, queueMarkOf(wanted));
    await applyMangle(run, 4, rules, await listMangle(run, 4, rules));
    this.steered = queue;
  }

  received(): Received {
    const text = readFileSync(`/proc/${this.witnesses.receiver}/net/dev`, 'utf8');
    const at = performance.now();
    const [bytes, packets] = /^ *in: *(.*)$/m.exec(text)![1]!.split(/ +/).map(Number);
    return { packets: packets!, bytes: bytes!, at };
  }

  /** Packets that the kernel dropped at this queue since it was bound: it was full, or its socket was; 0 while it is not. */
  dropped(queue: number): number {
    const text = readFileSync(`/proc/${this.witnesses.balancer}/net/netfilter/nfnetlink_queue`, 'utf8');
    const rows = text
      .trim()
      .split('\n')
      .map(line => line.trim().split(/ +/).map(Number));
    const [, , , , , full, user] = rows.find(([number]) => number === queue) ?? [];
    return (full ?? 0) + (user ?? 0);
  }

  flood(destination: string, milliseconds: number, rate: number): Promise<{ sent: number }> {
    return this.traffic('flood', ['out', NEXT_HOP, SENDER, destination, DISCARD_PORT, milliseconds, rate]);
  }

  roundtrip(destination: string, milliseconds: number, rate: number): Promise<RoundTrip> {
    return this.traffic('roundtrip', [destination, DISCARD_PORT, milliseconds, rate]);
  }

  async stream(destination: string, milliseconds: number, connections: number): Promise<void> {
    const words = ['send', destination, STREAM_PORT, milliseconds, connections].map(String);
    await this.processes.command([...this.inside('sender'), this.compiled.programs.stream, ...words]);
  }

  /** End its programs, remove its namespaces and files. */
  async destroy(): Promise<void> {
    await this.processes.end();
    await removeRun(this.state);
  }

  private async traffic<Result>(program: Program, words: readonly (string | number)[]): Promise<Result> {
    const argv = [
      ...[...this.inside('sender'), ...PLACEMENT.sender],
      ...[this.compiled.programs[program], ...words.map(String)],
    ];
    return JSON.parse((await this.processes.command(argv)).stdout) as Result;
  }

  private async ip(side: Side | null, lines: readonly string[]): Promise<void> {
    const input = lines.map(line => `${line}\n`).join('');
    await this.processes.command([...(side === null ? [] : this.inside(side)), 'ip', '-batch', '-'], {
      input,
    });
  }

  /** @param settings below /proc/sys/net/ipv4 */
  private async settings(side: Side, settings: readonly string[]): Promise<void> {
    const script = settings
      .map(each => each.split('='))
      .map(([path, value]) => `echo ${value} >/proc/sys/net/ipv4/${path}`);
    await this.processes.command([...this.inside(side), 'sh', '-ec', script.join('\n')]);
  }
}

/** Echo requests at a rate. */
export interface RoundTrip {
  readonly requests: number;
  /** One for each that was answered. */
  readonly microseconds: readonly number[];
}
