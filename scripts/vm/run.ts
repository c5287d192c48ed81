/**
 * `node run.js [--json] [--long]`: the virtual machines, from set-up to report. --json: the VmReport on stdout. Progress
 * on stderr. --long: after them those for the rules of other programs and for the takeover.
 * exit: 0 the guests came to a result, whatever it is; 1 one did not; 2 this machine cannot run them; 130, 143 interrupted.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Machine, RESULTS } from './machine.js';
import type { GuestReport, MachineReport, VmReport, Work } from './report.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const inRoot = (path: string): string => join(ROOT, path);
const ATTEMPTS = 2;
/** Measured: 4 to 8 minutes of a processor; on a busy host a second attempt would cost more than the wait. */
const TIMEOUT_MS = 20 * 60_000;
const say = (text: string): void => void process.stderr.write(`vm: ${text}\n`);

/** In a shell's single quotes. */
const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

/** What the guest runs. Its environment is made here: the kernel gives nothing but the options it does not know. */
const job = (work: keyof Work): string => `unset MODULES
export PATH=${quoted(`${process.env.PATH}:/usr/local/sbin:/usr/sbin:/sbin`)} HOME=/root LC_ALL=C
cd ${quoted(ROOT)}
node --enable-source-maps dist/scripts/vm/guest.js ${work} ${RESULTS} ${quoted(inRoot('dist/vm/sctp'))}
echo "job: exit code $?"
sync
echo o >/proc/sysrq-trigger
while :; do :; done
`;

const running = new Map<string, Machine>();
let interrupted = false;

/** End a machine and remove its files. */
async function remove(directory: string): Promise<void> {
  await running.get(directory)?.end();
  rmSync(directory, { recursive: true, force: true });
  running.delete(directory);
}

for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const) {
  process.on(signal, async () => {
    interrupted = true;
    await Promise.all([...running.keys()].map(remove));
    process.exit(code);
  });
}

/** null: the guest came to no result; why is on stderr. */
async function attempt<Name extends keyof Work>(
  work: Name,
  number: number,
): Promise<MachineReport<Name> | null> {
  const directory = mkdtempSync(join(tmpdir(), 'magmark-vm-'));
  const machine = new Machine({
    kernel: inRoot('dist/vm/kernel'),
    busybox: inRoot('dist/vm/busybox'),
    init: inRoot('scripts/vm/init'),
    job: job(work),
    directory,
    timeoutMs: TIMEOUT_MS,
  });
  running.set(directory, machine);
  let reason = 'it powered off without a report';
  let times = { bootMs: 0, totalMs: 0 };
  try {
    times = await machine.run();
  } catch (error) {
    reason = (error as Error).message;
  }
  // Whoever interrupted us removes everything and ends this process.
  if (interrupted) return new Promise(() => undefined);
  const file = join(machine.results, 'report.json');
  const report = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as GuestReport<Name>) : null;
  if (report === null) {
    const said = existsSync(machine.console) ? readFileSync(machine.console, 'utf8').trimEnd() : '';
    say(`${work}, attempt ${number}: the guest came to no result: ${reason}; its console:\n${said}`);
  }
  await remove(directory);
  return report === null ? null : { ...report, ...times, attempts: number };
}

async function machine<Name extends keyof Work>(work: Name): Promise<MachineReport<Name> | null> {
  for (let number = 1; number <= ATTEMPTS; number++) {
    const report = await attempt(work, number);
    if (report === null) continue;
    const { kernel, nft, bootMs, totalMs } = report;
    say(
      `${work}: kernel ${kernel}, ${nft}; system after ${bootMs} ms, end after ${totalMs} ms, attempt ${number}`,
    );
    return report;
  }
  return null;
}

const setup = spawnSync(inRoot('scripts/vm/setup'), { stdio: ['ignore', 'inherit', 'inherit'] });
if (setup.error !== undefined) throw setup.error;
if (setup.status !== 0) process.exit(setup.status ?? 1);
const [traffic, kernel] = await Promise.all([machine('traffic'), machine('kernel')]);
if (traffic === null || kernel === null) process.exit(1);
let long: VmReport['long'];
if (process.argv.includes('--long')) {
  const [others, takeover] = await Promise.all([machine('others'), machine('takeover')]);
  if (others === null || takeover === null) process.exit(1);
  long = { others, takeover };
}
if (process.argv.includes('--json')) {
  const report: VmReport = { traffic, kernel, long };
  await new Promise<void>(resolve => process.stdout.write(`${JSON.stringify(report)}\n`, () => resolve()));
}
process.exit(0);
