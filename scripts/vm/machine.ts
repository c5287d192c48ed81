/** One run of the virtual machine: two file servers and qemu, and their end, whatever happens. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { waitFor } from '../lab/wait.js';
import { buildInitrd } from './initrd.js';

export interface MachinePlan {
  /** Absolute paths. `kernel`: an unpacked package, with `vmlinuz` and `lib/modules`. */
  readonly kernel: string;
  readonly busybox: string;
  readonly init: string;
  /** Shell script that the guest runs; what it writes below RESULTS is in `results` here. */
  readonly job: string;
  /** Scratch of this run alone; the caller removes it. */
  readonly directory: string;
  readonly timeoutMs: number;
}

/** Where the guest sees the directory for results. */
export const RESULTS = '/run/magmark-vm';
/** The guest's first program says so when the system stands. */
const STANDS = 'init: the system stands';

const VIRTIOFSD = '/usr/lib/qemu/virtiofsd';
const MEMORY_MIB = 2048;
const SOCKET_MS = 20_000;
const END_MS = 10_000;

/** Options of the guest's kernel; the first program gets what has no meaning to it, MODULES, as environment. */
const APPEND = [
  'console=ttyS0 quiet',
  // A panic ends qemu, which has -no-reboot.
  'panic=-1',
  // Emulated timers come late; the kernel would take that for broken hardware.
  'no_timer_check nowatchdog mitigations=off',
  // The first program need not wait for randomness.
  'random.trust_cpu=on',
  // Programs at the same addresses each time, so that the emulator has translated them already: a third less work.
  'norandmaps',
];

export class Machine {
  private readonly children: ChildProcess[] = [];
  readonly results: string;
  readonly console: string;

  constructor(private readonly plan: MachinePlan) {
    this.results = join(plan.directory, 'results');
    this.console = join(plan.directory, 'console.log');
  }

  /**
   * Boot, run the job, and wait until the guest powers off.
   * @returns milliseconds from qemu's start to the job's system, and to the end
   * @throws Error if a program cannot be started, or after `timeoutMs`
   */
  async run(): Promise<{ bootMs: number; totalMs: number }> {
    const { kernel, busybox, init, directory, job, timeoutMs } = this.plan;
    mkdirSync(this.results);
    writeFileSync(join(this.results, 'job'), job);
    const initrd = buildInitrd(kernel, busybox, init, directory);
    const host = await this.serve('host', '/', 'always');
    const results = await this.serve('results', this.results, 'none');

    const start = performance.now();
    const qemu = this.start(
      'qemu-system-x86_64',
      [
        // One processor without AVX: a second one, or wider registers, cost the emulator more than they bring.
        // KVM is not there on every machine that has qemu, and nested it fails in ways of its own.
        ...['-accel', 'tcg', '-machine', 'q35', '-cpu', 'Nehalem,+rdrand', '-smp', '1'],
        // A nanosecond of the guest is an instruction: time-outs in there do not depend on how busy this machine is.
        ...['-icount', 'shift=0'],
        // The file servers read and write the guest's memory.
        ...['-m', `${MEMORY_MIB}`, '-numa', 'node,memdev=memory'],
        ...['-object', `memory-backend-memfd,id=memory,size=${MEMORY_MIB}M,share=on`],
        ...['-kernel', join(kernel, 'vmlinuz'), '-initrd', initrd],
        ...['-append', [...APPEND, `MODULES=${join(kernel, 'lib/modules')}`].join(' ')],
        ...this.device('host', host),
        ...this.device('results', results),
        ...['-nographic', '-nodefaults', '-no-reboot', '-nic', 'none', '-serial', 'stdio'],
      ],
      this.console,
    );
    const elapsed = (): number => Math.round(performance.now() - start);
    let bootMs: number | null = null;
    await waitFor('the guest to power off', timeoutMs, () => {
      if (bootMs === null && readFileSync(this.console, 'utf8').includes(STANDS)) bootMs = elapsed();
      return hasEnded(qemu);
    });
    const totalMs = elapsed();
    await this.end();
    return { bootMs: bootMs ?? totalMs, totalMs };
  }

  /** End whatever runs. Harmless when repeated. */
  async end(): Promise<void> {
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      const left = this.children.filter(child => !hasEnded(child));
      for (const child of left) child.kill(signal);
      try {
        await waitFor('the machine to end', END_MS, () => left.every(hasEnded));
        return;
      } catch (error) {
        if (signal === 'SIGKILL') throw error;
      }
    }
  }

  /** Have `source` served on a socket. @returns the socket's path */
  private async serve(name: string, source: string, cache: 'always' | 'none'): Promise<string> {
    const socket = join(this.plan.directory, `${name}.sock`);
    const log = join(this.plan.directory, `${name}.log`);
    const options = `source=${source},sandbox=chroot,cache=${cache},xattr`;
    const server = this.start(VIRTIOFSD, [`--socket-path=${socket}`, '-o', options], log);
    await waitFor(`the file server of ${source}`, SOCKET_MS, () => {
      if (hasEnded(server)) throw new Error(`${VIRTIOFSD} ended: ${readFileSync(log, 'utf8').trim()}`);
      return existsSync(socket);
    });
    return socket;
  }

  private device(tag: string, socket: string): string[] {
    const device = `vhost-user-fs-pci,chardev=${tag},tag=${tag},queue-size=1024`;
    return ['-chardev', `socket,id=${tag},path=${socket}`, '-device', device];
  }

  /** Dies with this process, also if that is killed. */
  private start(program: string, args: readonly string[], logFile: string): ChildProcess {
    const log = openSync(logFile, 'a');
    try {
      const child = spawn('setpriv', ['--pdeathsig', 'KILL', program, ...args], {
        stdio: ['ignore', log, log],
        // A Ctrl-C of the terminal is for us; we end the others in order.
        detached: true,
      });
      // A program that cannot be started has no exit code, and hasEnded() sees that it has no pid.
      child.on('error', () => undefined);
      this.children.push(child);
      return child;
    } finally {
      closeSync(log);
    }
  }
}

const hasEnded = (child: ChildProcess): boolean =>
  child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
