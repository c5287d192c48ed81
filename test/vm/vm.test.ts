/** The genuine nft ruleset: Debian's kernel in virtual machines, with the carrier that the reference document shows. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { REFERENCE_LOOKUP } from '../../scripts/lab/plan.js';
import type { VmReport } from '../../scripts/vm/report.js';

const RUN = fileURLToPath(new URL('../../scripts/vm/run.js', import.meta.url));
/** Verbatim from the reference document. */
const REFERENCE = readFileSync(new URL('../../../test/vm/reference-ruleset.txt', import.meta.url), 'utf8');
/** What we have besides, behind it: tables of our own. */
const OWN = readFileSync(new URL('../../../test/vm/own-ruleset.txt', import.meta.url), 'utf8');
/** Two attempts of 20 minutes, two more with the long work, and the downloads before. */
t.setTimeout(85 * 60_000);

const options = process.env.MAGMARK_VM_LONG === undefined ? [] : ['--long'];

/** The runner's exit code, stdout, and what it said. */
function run(): Promise<{ code: number | null; stdout: string; stderr: string }> {
  // tap's own variables would have the runner report to it.
  const inherited = Object.entries(process.env).filter(
    ([name]) => !/^(_?TAP|NODE_OPTIONS|NODE_V8)/.test(name),
  );
  const child = spawn(process.execPath, ['--enable-source-maps', RUN, '--json', ...options], {
    env: Object.fromEntries(inherited),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  // Whoever ends the test ends the machines.
  const end = (): void => void child.kill('SIGTERM');
  process.once('exit', end);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, end);
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', chunk => (stdout += chunk));
  // What a first attempt met is told also when the second one succeeds.
  child.stderr.pipe(process.stderr);
  child.stderr.on('data', chunk => (stderr += chunk));
  return new Promise(resolve => child.on('close', code => resolve({ code, stdout, stderr })));
}

/** The document is indented by 8 spaces where nft prints a tab. */
const asPrinted = (text: string): string =>
  text.replace(/^( {8})+/gm, spaces => '\t'.repeat(spaces.length / 8));

/** Of rules, and of counters that have names. */
const withoutCounts = (text: string): string => text.replace(/\bpackets \d+ bytes \d+/g, 'packets 0 bytes 0');

/** One table of the reference, as `nft list table` prints it. */
function referenceTable(name: string): string {
  return asPrinted(REFERENCE)
    .split(/^(?=table )/m)
    .find(text => text.startsWith(`table inet ${name} `))!;
}

const { code, stdout, stderr } = await run();
if (code === 2 && !process.env.CI) {
  process.stderr.write(
    `\nTHE GENUINE nft RULESET IS NOT TESTED: no virtual machine on this machine.\n${stderr}\n`,
  );
  t.plan(0, `no virtual machine: ${stderr.trim().split('\n').at(-1)}`);
} else if (code !== 0) {
  t.comment(stderr);
  t.fail(`the virtual machines come to a result; exit code ${code}`);
} else {
  claims(JSON.parse(stdout) as VmReport);
}

function claims({ traffic, kernel, long }: VmReport): void {
  for (const [name, machine] of Object.entries({ traffic, kernel, ...long })) {
    const times = Object.entries(machine.durationsMs).map(([step, ms]) => `${step} ${ms} ms`);
    t.comment(
      `${name}: kernel ${machine.kernel}, ${machine.nft}; system after ${machine.bootMs} ms, end after ` +
        `${machine.totalMs} ms, attempt ${machine.attempts}; by the guest's clock: ${times.join(', ')}`,
    );
  }
  const { demo, listings, sctp } = traffic.found;

  t.test('the demonstration succeeds with the carrier nft', t => {
    if (demo.code !== 0) t.comment(demo.stderr);
    t.equal(demo.code, 0, 'exit code');
    const document = JSON.parse(demo.stdout || '{}');
    t.equal(document.ok, true, 'every expectation held');
    t.equal(document.carrier, 'nft', 'carrier');
    t.strictSame(document.lookup, REFERENCE_LOOKUP, "the reference's table");
    const answered = { attempted: 400, answered: 400, asPredicted: 400 };
    t.strictSame(document.tcp, { ipv4: answered, ipv6: answered });
    t.end();
  });

  t.test('nft lists the tables byte for byte as the reference does, save counters', t => {
    if ('error' in listings) throw new Error(listings.error);
    t.equal(listings.carrier, 'nft', 'carrier');
    for (const name of ['meridio-nfqlb', 'meridio-defrag', 'meridio-nat'] as const) {
      t.equal(withoutCounts(listings[name]), referenceTable(name), name);
    }
    t.equal(
      withoutCounts(listings.ruleset),
      asPrinted(REFERENCE + OWN),
      'the whole ruleset has our own after them',
    );
    t.end();
  });

  t.test('the rules that queue count what went through them', t => {
    if ('error' in listings) throw new Error(listings.error);
    for (const family of ['ip', 'ip6']) {
      const rule = new RegExp(
        `^\t\t${family} daddr @\\S+ counter packets (\\d+) bytes \\d+ queue to 0-3$`,
        'm',
      );
      t.ok(Number(rule.exec(listings['meridio-nfqlb'])?.[1]) > 0, family);
    }
    t.end();
  });

  t.test('SCTP associations of real sockets reach the targets that the core names offline', t => {
    if ('error' in sctp) throw new Error(sctp.error);
    const figures = {
      attempted: 64,
      answered: 64,
      asPredicted: 64,
      firstError: null,
      targets: [44, 62, 69, 73],
    };
    t.strictSame(sctp, { ipv4: figures, ipv6: figures });
    t.end();
  });

  t.test("the tests of the kernel's room pass with the carrier nft", t => {
    const { code, stdout, stderr } = kernel.found.tests;
    if (code !== 0) t.comment(`${stdout}\n${stderr}`);
    t.equal(code, 0, 'exit code');
    t.match(stdout, /^ok \d+ - the listings are those of the reference/m, 'they ran');
    t.notMatch(stdout, /^\s*not ok/m, 'none failed');
    t.end();
  });

  t.test('fragments follow their first with the carrier nft', t => {
    const { code, stdout, stderr } = kernel.found.fragments;
    if (code !== 0) t.comment(`${stdout}\n${stderr}`);
    t.equal(code, 0, 'exit code');
    t.match(stdout, /# carrier nft$/m, 'carrier');
    t.match(stdout, /^ok \d+ - a flood of fragments without firsts/m, 'they ran');
    t.notMatch(stdout, /^\s*not ok/m, 'none failed');
    t.end();
  });

  if (long === undefined) {
    t.comment(
      'rules of others, and a takeover, with the carrier nft take too long for every run: npm run test:vm has them',
    );
    return;
  }
  const { others, takeover } = long;
  t.test("the tests of other programs' rules pass with the carrier nft", t => {
    const { code, stdout, stderr } = others.found.guard;
    if (code !== 0) t.comment(`${stdout}\n${stderr}`);
    t.equal(code, 0, 'exit code');
    t.match(stdout, /# carrier nft$/m, 'carrier');
    t.match(stdout, /^ok \d+ - a packet without a mark of ours is dropped/m, 'they ran');
    t.notMatch(stdout, /^\s*not ok/m, 'none failed');
    t.end();
  });

  t.test('a VIP that the kernel delivers to this host is withdrawn with the carrier nft', t => {
    const { code, stdout, stderr } = others.found.withdrawal;
    if (code !== 0) t.comment(`${stdout}\n${stderr}`);
    t.equal(code, 0, 'exit code');
    t.match(stdout, /# carrier nft$/m, 'carrier');
    t.match(stdout, /^ok \d+ - a VIP that the kernel delivers to this host .*(?<!# SKIP.*)$/m, 'it ran');
    t.notMatch(stdout, /^\s*not ok/m, 'none failed');
    t.end();
  });

  t.test('a takeover with the carrier nft loses no packet', t => {
    const { code, stdout, stderr } = takeover.found;
    if (code !== 0) t.comment(`${stdout}\n${stderr}`);
    for (const line of stdout.split('\n').filter(line => / lost; /.test(line))) t.comment(line.trim());
    t.equal(code, 0, 'exit code');
    t.match(stdout, /# carrier nft$/m, 'carrier');
    t.match(stdout, /^ok \d+ - twice, and then with other targets and flows/m, 'it ran');
    t.end();
  });
}
