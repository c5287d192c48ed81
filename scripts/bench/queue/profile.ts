/** Where the answering thread's time goes under saturation, by samples of perf with the calls that led there. */
import { execFile } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { busiest, type Contestant, threadTimes } from './contestant.js';
import type { QueueNetwork } from './network.js';

export interface Share {
  readonly part: string;
  /** Of all samples. */
  readonly share: number;
}

const SETTLE_MS = 400;
const SAMPLES_A_SECOND = 1999;
const OUTPUT_BYTES = 512 * 1024 * 1024;

/**
 * Which part a sample belongs to: the outermost system call that is in it, else the code that ran.
 * @param frames  lines of `perf script`, the innermost first: `ADDRESS SYMBOL (OBJECT)`
 */
export function partOf(frames: readonly string[]): string {
  const text = frames.join('\n');
  if (/__(x64_|arm64_)?sys_recv/.test(text)) return 'kernel: receive';
  if (/__(x64_|arm64_)?sys_send/.test(text)) {
    if (/nf_reinject|nfqnl_reinject|ip_rcv_finish/.test(text)) return 'kernel: re-inject, route, forward';
    return 'kernel: take verdicts';
  }
  if (/__(x64_|arm64_)?sys_(p?poll|ppoll)/.test(text)) return 'kernel: wait';
  const innermost = frames[0] ?? '';
  if (innermost.includes('[kernel') || innermost.includes('vmlinux')) return 'kernel: other';
  if (/nfqueue\.node/.test(innermost)) return 'shim';
  if (/wasm|\[JIT\]|perf-[0-9]+\.map|\/\/anon|\[unknown\] \(\[/i.test(innermost))
    return 'Wasm and compiled JavaScript';
  if (/\/node\b/.test(innermost)) return 'Node.js: N-API and the rest';
  return 'C library';
}

/** Shares, the largest first. @param script what `perf script -F ip,sym,dso` printed */
export function sharesOf(script: string): Share[] {
  const samples = script.split('\n\n').map(each =>
    each
      .split('\n')
      .map(line => line.trim())
      .filter(line => line !== ''),
  );
  const counted = new Map<string, number>();
  let all = 0;
  for (const frames of samples) {
    if (frames.length === 0) continue;
    all++;
    const part = partOf(frames);
    counted.set(part, (counted.get(part) ?? 0) + 1);
  }
  return [...counted]
    .map(([part, count]) => ({ part, share: count / all }))
    .toSorted((one, other) => other.share - one.share);
}

/** null: this machine has no perf. */
export async function profile(
  network: QueueNetwork,
  contestant: Contestant,
  milliseconds: number,
): Promise<Share[] | null> {
  const pid = await contestant.start();
  try {
    const before = threadTimes(pid);
    const running = network.flood(contestant.destination, milliseconds + 3 * SETTLE_MS, 0);
    await delay(SETTLE_MS);
    const file = network.log('profile');
    const words = [
      '-g',
      '-e',
      'cpu-clock',
      '-F',
      `${SAMPLES_A_SECOND}`,
      '-t',
      `${busiest(pid, before)}`,
      '-o',
      file,
    ];
    await perf(['record', '-q', ...words, '--', 'sleep', `${milliseconds / 1000}`]);
    await running;
    return sharesOf(await perf(['script', '-i', file, '-F', 'ip,sym,dso']));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  } finally {
    await contestant.stop();
  }
}

async function perf(words: readonly string[]): Promise<string> {
  return (await promisify(execFile)('perf', [...words], { maxBuffer: OUTPUT_BYTES })).stdout;
}
