/** A real `nfqlb flowlb` in this network namespace, and the real `nfqlb` that talks to it. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NFQLB } from '../../scripts/lab/daemon.js';
import { waitFor } from '../../scripts/lab/wait.js';

export interface Said {
  readonly stdout: string;
  readonly stderr: string;
  readonly code: number | null;
}

const READY_MS = 20_000;
const COMMAND_MS = 20_000;

export class Session {
  readonly directory = mkdtempSync(join(tmpdir(), 'mm-'));
  readonly socket = join(this.directory, 's');
  /** What the present `flowlb` wrote. */
  log = '';
  private child: ChildProcess | null = null;

  private get environment(): NodeJS.ProcessEnv {
    const { NODE_OPTIONS: _, ...environment } = process.env;
    return { ...environment, MAGMARK_SOCKET: this.socket };
  }

  /** Start `flowlb` and wait for nothing. */
  spawn(...options: string[]): void {
    this.log = '';
    const child = spawn(process.execPath, [NFQLB, 'flowlb', ...options], {
      env: this.environment,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [child.stdout!, child.stderr!])
      stream.on('data', (chunk: Buffer) => (this.log += chunk.toString()));
    this.child = child;
  }

  /** Start `flowlb`; returns when its queues are bound. */
  async start(...options: string[]): Promise<void> {
    this.spawn(...options);
    await waitFor('flowlb to be ready', READY_MS, () => {
      if (this.child!.exitCode !== null) throw new Error(`flowlb ended: ${this.log}`);
      return this.log.includes('"msg":"ready"');
    });
  }

  /** One command; `flow-list --name=f` is one text, words that hold spaces come as an array. */
  nfqlb(command: string | readonly string[]): Said {
    const args = typeof command === 'string' ? command.split(' ') : command;
    const { stdout, stderr, status } = spawnSync(process.execPath, [NFQLB, ...args], {
      env: this.environment,
      encoding: 'utf8',
      timeout: COMMAND_MS,
    });
    return { stdout, stderr, code: status };
  }

  /** A command that must succeed; its output. */
  done(command: string | readonly string[]): string {
    const { stdout, stderr, code } = this.nfqlb(command);
    if (code !== 0) throw new Error(`nfqlb ${command}: exit ${code}: ${stdout}${stderr}`);
    return stdout;
  }

  /** @returns its exit code; null: it was not running */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    const { child } = this;
    this.child = null;
    if (child === null) return null;
    if (child.exitCode === null && child.signalCode === null) {
      child.kill(signal);
      await once(child, 'exit');
    }
    return child.exitCode;
  }

  async end(): Promise<void> {
    await this.stop('SIGKILL');
    rmSync(this.directory, { recursive: true, force: true });
  }
}
