/** A datagram socket as systemd has one; Node has none, so Python's. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const PROGRAM = fileURLToPath(new URL('../../../test/notify/datagrams.py', import.meta.url));

export class DatagramReceiver {
  /** In the order in which they came. */
  readonly datagrams: string[] = [];

  private constructor(private readonly child: ChildProcess) {}

  /** Resolves once it is bound. @param address a path, or `@name` */
  static async start(address: string): Promise<DatagramReceiver> {
    const child = spawn('python3', [PROGRAM, address], { stdio: ['ignore', 'pipe', 'inherit'] });
    const receiver = new DatagramReceiver(child);
    const lines = createInterface({ input: child.stdout! });
    await Promise.race([
      once(lines, 'line'),
      once(child, 'exit').then(() => Promise.reject(new Error(`nothing receives at ${address}`))),
    ]);
    lines.on('line', line => receiver.datagrams.push(JSON.parse(line) as string));
    return receiver;
  }

  async stop(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = once(this.child, 'exit');
    this.child.kill();
    await ended;
  }
}
