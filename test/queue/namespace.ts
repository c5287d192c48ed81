/** Tests that need a kernel of their own: the file runs itself again in a network namespace that it makes and removes. */
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const INSIDE = 'MAGMARK_TEST_NAMESPACE';

export function run(file: string, ...parameters: string[]): string {
  return execFileSync(file, parameters, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

/**
 * Resolves in a process whose network namespace is new, with loopback up; elsewhere it runs that process and ends as it
 * did. Call it before `tap` is imported, so that only the inner process reports.
 */
export async function insideNamespace(url: string): Promise<void> {
  if (process.env[INSIDE] !== undefined) return;
  if (process.getuid?.() !== 0) {
    process.stdout.write('TAP version 14\n1..0 # SKIP network namespaces are made by root\n');
    process.exit(0);
  }
  const name = `magmark-test-${randomBytes(4).toString('hex')}`;
  run('ip', 'netns', 'add', name);
  process.on('exit', () => run('ip', 'netns', 'delete', name));
  run('ip', '-n', name, 'link', 'set', 'lo', 'up');
  const parameters = ['netns', 'exec', name, process.execPath, '--enable-source-maps', fileURLToPath(url)];
  const inner = spawn('ip', parameters, { stdio: 'inherit', env: { ...process.env, [INSIDE]: name } });
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => inner.kill('SIGKILL'));
  const [code] = await once(inner, 'exit');
  process.exit(code ?? 1);
}

/** Queue UDP to `ports` (`7000` or `7000:7003`) on its way out; what has not `mark` afterwards is dropped. */
export function queueUdp(ports: string, queue: number, mark: number): void {
  const match = ['-p', 'udp', '--dport', ports];
  run('iptables-nft', '-t', 'mangle', '-A', 'OUTPUT', ...match, '-j', 'NFQUEUE', '--queue-num', `${queue}`);
  const unmarked = ['-m', 'mark', '!', '--mark', `${mark}`, '-j', 'DROP'];
  run('iptables-nft', '-t', 'mangle', '-A', 'POSTROUTING', ...match, ...unmarked);
}

/** Resolves once `holds()`; `step` runs meanwhile, over and over. Rejects after `deadlineMs`. */
export async function until(
  claim: string,
  holds: () => boolean,
  step: () => void = () => {},
  deadlineMs = 60_000,
): Promise<void> {
  const started = performance.now();
  while (!holds()) {
    if (performance.now() - started > deadlineMs) throw new Error(`not within ${deadlineMs} ms: ${claim}`);
    step();
    await new Promise(resolve => setTimeout(resolve, 1));
  }
}
