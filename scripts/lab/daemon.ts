/** The daemon in a namespace, started and steered as a user would: a command, a file, signals and its log. */
import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { StatusReply } from '../../host/control/api.js';
import type { CommandOptions, CommandResult, Processes } from './processes.js';
import { Topology } from './topology.js';
import { leeway, waitFor } from './wait.js';

const ROOT = new URL('../../../', import.meta.url);
/** The package's commands, as `magmark` and `nfqlb` of an installed package run them. */
export const MAGMARK = fileURLToPath(new URL('dist/host/bin/magmark.js', ROOT));
export const NFQLB = fileURLToPath(new URL('dist/host/bin/nfqlb.js', ROOT));

const READY_MS = 60_000;
/** A file of hundreds of thousands of flows takes seconds. */
const RELOAD_MS = 60_000;
const STOP_MS = 60_000;
/** What is promised, on an idle machine. */
const STOP_LIMIT_MS = 2000;

export interface LogLine {
  readonly level: string;
  readonly msg: string;
  readonly [key: string]: unknown;
}

/** Where the daemon runs. */
export interface Housing {
  /** `magmark run OPTIONS`, as words of a command. */
  run(options: readonly string[]): string[];
  /** A program that asks it, or its BIRD: `node MAGMARK ...`. */
  ask(argv: readonly string[]): string[];
}

/** A process of this machine in a network namespace. */
export class NamespaceHousing implements Housing {
  constructor(
    private readonly namespace: string,
    private readonly environment: Readonly<Record<string, string>> = {},
  ) {}

  run(options: readonly string[]): string[] {
    const variables = Object.entries(this.environment).map(([name, value]) => `${name}=${value}`);
    // A test runner that watches its children would catch their signals, and puts itself back into the environment.
    return this.ask(['env', '-u', 'NODE_OPTIONS', ...variables, 'node', MAGMARK, 'run', ...options]);
  }

  ask(argv: readonly string[]): string[] {
    return [...Topology.inside(this.namespace), ...argv];
  }
}

export class LabDaemon {
  readonly housing: Housing;
  private readonly child: ChildProcess;

  constructor(
    topology: Topology,
    /** null: it is started without one. */
    configFile: string | null,
    private readonly logFile: string,
    namespace = topology.loadBalancer,
    options: readonly string[] = [],
    environment: Readonly<Record<string, string>> = {},
    housing: Housing = new NamespaceHousing(namespace, environment),
  ) {
    this.housing = housing;
    this.processes = topology.processes;
    const argv = housing.run([...(configFile === null ? [] : ['--config', configFile]), ...options]);
    this.child = this.processes.start(argv, logFile);
  }

  private readonly processes: Processes;

  get pid(): number {
    return this.child.pid!;
  }

  /** null: it runs, or a signal ended it. */
  get exitCode(): number | null {
    return this.child.exitCode;
  }

  /** What it logged so far. */
  log(): LogLine[] {
    return (
      readFileSync(this.logFile, 'utf8')
        .split('\n')
        // What follows the last line end is still being written.
        .slice(0, -1)
        .filter(line => line.startsWith('{'))
        .map(line => JSON.parse(line) as LogLine)
    );
  }

  /** Last lines of the log, as they are. */
  logTail(count = 20): string {
    return readFileSync(this.logFile, 'utf8').trimEnd().split('\n').slice(-count).join('\n');
  }

  /** Its answer when everything stands. */
  ready(): Promise<LogLine> {
    return this.logged('the daemon to be ready', READY_MS, 0, ['ready']);
  }

  /** Have it read its file again. */
  async reload(): Promise<LogLine> {
    const before = this.log().length;
    this.child.kill('SIGHUP');
    return this.logged('the daemon to read its file again', RELOAD_MS, before, [
      'reloaded',
      'reload refused',
    ]);
  }

  /** Returns when it has ended. */
  async ended(): Promise<void> {
    await waitFor('the daemon to end', STOP_MS, () => this.hasEnded());
  }

  /** Send a signal and wait for nothing. */
  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** @returns how long it took, how long it may take on this machine just now, and its exit code: null if a signal ended it */
  async stop(
    signal: NodeJS.Signals = 'SIGTERM',
  ): Promise<{ milliseconds: number; limit: number; code: number | null }> {
    const before = await leeway();
    const start = performance.now();
    this.child.kill(signal);
    await waitFor(`the daemon to end on ${signal}`, STOP_MS, () => this.hasEnded());
    const milliseconds = Math.round(performance.now() - start);
    const limit = Math.round(STOP_LIMIT_MS * Math.max(before, await leeway()));
    return { milliseconds, limit, code: this.child.exitCode };
  }

  /** `nfqlb ARGUMENTS` in its namespace. */
  nfqlb(args: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    return this.processes.command(this.housing.ask(['node', NFQLB, ...args]), options);
  }

  /** `magmark status --json` in its namespace. */
  async status(): Promise<StatusReply> {
    const argv = this.housing.ask(['node', MAGMARK, 'status', '--json']);
    return JSON.parse((await this.processes.command(argv)).stdout) as StatusReply;
  }

  hasEnded(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  private logged(
    what: string,
    deadlineMs: number,
    from: number,
    messages: readonly string[],
  ): Promise<LogLine> {
    return waitFor(what, deadlineMs, () => {
      const found = this.log()
        .slice(from)
        .find(line => messages.includes(line.msg));
      if (found === undefined && this.hasEnded()) throw new Error(`the daemon ended:\n${this.logTail()}`);
      return found;
    });
  }
}
