/** What one file, one program, one socket or one reader of the log can do to a daemon: each costs an error, none the service. */
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { MAGMARK } from '../../scripts/lab/daemon.js';
import { Topology } from '../../scripts/lab/topology.js';
import { waitFor } from '../../scripts/lab/wait.js';
import {
  answered,
  comparableState,
  configFile,
  connectionsTo,
  inLoadBalancer,
  kernelState,
  predict,
  startDaemon,
  startLab,
  writeConfig,
} from './lab.js';

t.setTimeout(900_000);
const WAIT_MS = 60_000;
const { topology, clients } = await startLab(t);
const pristine = await kernelState(topology);
const inDirectory = (name: string): string => join(topology.directory, name);
const passwordFile = inDirectory('password');

const configText = (identifier: number): string => `
queues: 0
shutdownDelay: 0s
interfaces: {external: ext-vlan0, internal: ["conduit-a-*"]}
vips: [20.0.0.1/32]
gateways:
  - {name: g, protocol: bgp, ips: [169.254.100.150], localAsn: 8103, remoteAsn: 4248829953, passwordFile: ${passwordFile}}
streams:
  - name: a
    targets:
      - {identifier: ${identifier}, ips: [172.16.0.6]}
flows:
  - {name: tcp, stream: a, priority: 1, protocols: [tcp], vips: [20.0.0.1/32], destinationPortRanges: ["4000"]}
`;

/** `magmark ARGUMENTS` in the daemon's namespace, which may fail. */
const magmark = (...argv: string[]) =>
  topology.processes.command([...Topology.inside(topology.loadBalancer), 'node', MAGMARK, ...argv], {
    mayFail: true,
  });

/** Put something else in the place of a file. */
function replace(path: string, make: (path: string) => unknown): void {
  rmSync(path, { force: true });
  make(path);
}
const fifo = (path: string) => execFileSync('mkfifo', [path]);
const endless = (path: string) => symlinkSync('/dev/zero', path);

t.test('a file that never ends or never begins is refused at once, and changes go on', async t => {
  writeFileSync(passwordFile, 'secret\n');
  const daemon = startDaemon(topology, configText(1));
  await daemon.ready();
  const file = configFile(topology);
  const residentKb = (): number =>
    Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${daemon.pid}/status`, 'utf8'))![1]);
  const before = residentKb();

  for (const [make, kind] of [
    [fifo, 'a FIFO'],
    [endless, 'a character device'],
  ] as const) {
    replace(file, () => writeConfig(topology, configText(1)));
    const fault = `it is ${kind}, and a regular file is needed`;
    replace(passwordFile, make);
    t.match(await daemon.reload(), {
      msg: 'reload refused',
      faults: [`gateway g: cannot read password file ${passwordFile}: ${fault}`],
    });
    replace(passwordFile, path => writeFileSync(path, 'secret\n'));

    replace(file, make);
    t.match(await daemon.reload(), { msg: 'reload refused', faults: [`${file}: cannot be read: ${fault}`] });
    for (const command of ['apply', 'diff', 'validate']) {
      const { code, stderr } = await magmark(command, file);
      t.match({ code, stderr }, { code: 1, stderr: `${file}: cannot be read: ${fault}` }, command);
    }
  }
  t.ok(residentKb() - before < 64 * 1024, 'no file fills the memory');
  t.match((await daemon.status()).warnings, [/the last reload was refused: /]);

  replace(file, () => writeConfig(topology, configText(2)));
  t.equal((await daemon.reload()).msg, 'reloaded');
  t.equal((await daemon.stop()).code, 0);
  t.equal(await kernelState(topology), pristine);
});

t.test('a start with such a file ends with its fault', async t => {
  for (const [path, fault] of [
    [passwordFile, /cannot read password file .*: it is a FIFO/],
    [configFile(topology), /cannot be read: it is a FIFO/],
  ] as const) {
    writeConfig(topology, configText(1));
    replace(path, fifo);
    const { code, stderr } = await magmark('run', '--config', configFile(topology));
    t.not(code, 0);
    t.match(stderr, fault);
    rmSync(path);
    t.equal(await kernelState(topology), pristine);
  }
});

const staticText = `
queues: 0
shutdownDelay: 0s
interfaces: {external: ext-vlan0, internal: ["conduit-a-*"]}
vips: [20.0.0.1/32]
gateways:
  - {name: g, protocol: static, ips: [169.254.100.150]}
streams:
  - name: a
    targets:
      - {identifier: 69, ips: [172.16.0.6]}
      - {identifier: 62, ips: [172.16.0.8]}
flows:
  - {name: tcp, stream: a, priority: 1, protocols: [tcp], vips: [20.0.0.1/32], destinationPortRanges: ["4000"]}
`;

/** Programs that misbehave while the file `NAME.ILL` is there: first in the PATH of one daemon, and of nothing else. */
const programs = inDirectory('programs');
mkdirSync(programs);
const environment = { PATH: `${programs}:${process.env.PATH}:/usr/sbin:/sbin` };
function misbehaving(program: string, how: string): { begin(): void; end(): void } {
  const ill = inDirectory(`${program}.ill`);
  const script = `#!/bin/sh\n[ -e ${ill} ] && exec ${how}\nPATH=\${PATH#*:} exec ${program} "$@"\n`;
  writeFileSync(join(programs, program), script, { mode: 0o755 });
  return { begin: () => writeFileSync(ill, ''), end: () => rmSync(ill) };
}

/** A rule that traffic does not need goes, by another hand. */
async function drift(): Promise<void> {
  await inLoadBalancer(topology, 'ip', '-4', 'rule', 'del', 'priority', '102');
}

let port = 30_000;
async function serves(): Promise<boolean> {
  const connections = connectionsTo(4, ['20.0.0.1'], 20, port);
  port += 20;
  const expected = predict(staticText, connections);
  return JSON.stringify(answered(await clients.connect(connections))) === JSON.stringify(expected);
}

t.test('nft hangs: status and readiness name it, packets go on, and a stop ends in time', async t => {
  const nft = misbehaving('nft', 'sleep 1000');
  const daemon = startDaemon(topology, staticText, [], topology.loadBalancer, environment);
  await daemon.ready();
  nft.begin();
  await drift();
  const warning = /^nft has not ended for \d+ s$/;
  await waitFor('a warning about nft', WAIT_MS, async () =>
    (await daemon.status()).warnings.some(line => warning.test(line)),
  );
  await waitFor('readiness to name nft', WAIT_MS, async () =>
    /nft has not ended for \d+ s: rules, routes and tables cannot be compared/.test(
      (await magmark('health', '--ready')).stdout,
    ),
  );
  t.ok(await serves(), 'packets go on');
  const { code, milliseconds } = await daemon.stop();
  t.equal(code, 1);
  t.ok(milliseconds < 20_000, `it took ${milliseconds} ms; two programs of 30 s each made it 62 s`);
  const last = daemon.log().find(line => line.msg === 'stopped');
  t.match(last, { clean: false });
  t.ok((last!.left as string[]).includes('table inet meridio-nfqlb'), 'what is left is told');
  const rules = await inLoadBalancer(topology, 'ip', '-4', 'rule');
  t.notMatch(rules, /fwmark .* lookup/, 'what needs no nft is gone');

  nft.end();
  const next = startDaemon(topology, staticText);
  await next.ready();
  t.equal((await next.stop()).code, 0);
  t.equal(await kernelState(topology), pristine, 'the next start repairs it');
});

t.test('a second SIGTERM shortens a stop that hangs', async t => {
  const nft = misbehaving('nft', 'sleep 1000');
  const daemon = startDaemon(topology, staticText, [], topology.loadBalancer, environment);
  await daemon.ready();
  nft.begin();
  daemon.signal('SIGTERM');
  await waitFor('the stop to begin', WAIT_MS, () => daemon.log().some(({ msg }) => msg === 'stopping'));
  const { code, milliseconds } = await daemon.stop();
  t.equal(code, 1);
  t.ok(milliseconds < 15_000, `it took ${milliseconds} ms`);
  nft.end();
});

t.test('SIGTERM ends a start whose nft hangs', async t => {
  const nft = misbehaving('nft', 'sleep 1000');
  nft.begin();
  const daemon = startDaemon(topology, staticText, [], topology.loadBalancer, environment);
  const children = () =>
    readFileSync(`/proc/${daemon.pid}/task/${daemon.pid}/children`, 'utf8').trim().split(' ');
  await waitFor('nft to hang', WAIT_MS, () =>
    children().some(child => {
      const line = child === '' ? '' : readFileSync(`/proc/${child}/cmdline`, 'utf8');
      return line.startsWith('sleep\0');
    }),
  );
  const { code, milliseconds } = await daemon.stop();
  t.equal(code, 0);
  t.ok(milliseconds < 20_000, `it took ${milliseconds} ms`);
  nft.end();
});

t.test('ip prints without end, descriptors run out: each an error, and the repair comes later', async t => {
  const ip = misbehaving('ip', 'yes');
  const daemon = startDaemon(topology, staticText, [], topology.loadBalancer, environment);
  await daemon.ready();
  const whole = await comparableState(topology);
  const errors = (text: string) => daemon.log().filter(line => JSON.stringify(line).includes(text));

  ip.begin();
  await drift();
  await waitFor(
    'the error about ip',
    WAIT_MS,
    () => errors('it printed more than 33554432 characters').length > 0,
  );
  const failed = /could not be compared or repaired: ip .*it printed more than 33554432 characters/;
  t.match((await daemon.status()).warnings.join('\n'), failed);
  await waitFor('readiness to say so', WAIT_MS, async () =>
    failed.test((await magmark('health', '--ready')).stdout),
  );
  ip.end();
  await waitFor('the repair', WAIT_MS, async () => (await comparableState(topology)) === whole);
  await waitFor('no warning', WAIT_MS, async () => !failed.test((await daemon.status()).warnings.join('\n')));
  const peak = Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${daemon.pid}/status`, 'utf8'))![1]);
  t.comment(`peak of resident memory: ${Math.round(peak / 1024)} MiB`);
  t.ok(peak < 400 * 1024, 'an ip that prints without end used 2.1 GB');

  const limit = (count: string) =>
    topology.processes.command(['prlimit', '--pid', `${daemon.pid}`, `--nofile=${count}`]);
  const used = readdirSync(`/proc/${daemon.pid}/fd`).length;
  await limit(`${used + 4}:`);
  await drift();
  await waitFor('the error about descriptors', WAIT_MS, () => errors('(EMFILE)').length > 0);
  t.ok(await serves(), 'packets go on');
  t.notOk(daemon.hasEnded());
  await limit('1024:');
  await waitFor('the repair', WAIT_MS, async () => (await comparableState(topology)) === whole);

  // Whoever opens them all at once, and asks nothing.
  const socketPath = `/run/magmark/net-${/\d+/.exec(await inLoadBalancer(topology, 'readlink', '/proc/self/ns/net'))![0]}.sock`;
  const idle: Socket[] = [];
  t.teardown(() => idle.map(socket => socket.destroy()));
  for (let n = 0; n < 1000; n++) {
    const socket = connect(socketPath);
    idle.push(socket);
    await new Promise<void>(resolve => socket.once('connect', resolve).once('error', () => resolve()));
  }
  t.ok(readdirSync(`/proc/${daemon.pid}/fd`).length < used + 100);
  await drift();
  await waitFor('the repair', WAIT_MS, async () => (await comparableState(topology)) === whole);
  t.equal((await daemon.status()).pid, daemon.pid);
  t.equal((await daemon.stop()).code, 0);
  t.equal(await kernelState(topology), pristine);
});

t.test('nobody reads the log: the daemon answers, repairs and stops', async t => {
  const pipe = inDirectory('log');
  execFileSync('mkfifo', [pipe]);
  const reader = openSync(pipe, constants.O_RDONLY | constants.O_NONBLOCK);
  t.teardown(() => closeSync(reader));
  const daemon = startDaemon(topology, staticText, [], topology.loadBalancer, {}, pipe);
  await waitFor('the daemon to answer', WAIT_MS, async () => (await magmark('status')).code === 0);
  await waitFor(
    'the daemon to be ready',
    WAIT_MS,
    async () => (await magmark('health', '--ready')).code === 0,
  );
  const whole = await comparableState(topology);
  // Each a line of some 9,000 bytes; a pipe has 65,536.
  const flows = Array.from({ length: 90 }, (_, n) => `  - {name: f${n}, stream: ${'x'.repeat(60)}}`).join(
    '\n',
  );
  writeConfig(topology, `${staticText}${flows}\n`);
  await waitFor('a warning about the log', WAIT_MS, async () => {
    daemon.signal('SIGHUP');
    return (await daemon.status()).warnings.some(line => /the reader of the log does not read/.test(line));
  });
  await drift();
  await waitFor('the repair', WAIT_MS, async () => (await comparableState(topology)) === whole);
  const { code, milliseconds } = await daemon.stop();
  t.equal(code, 0);
  t.ok(milliseconds < 20_000, `it took ${milliseconds} ms`);
  t.equal(await kernelState(topology), pristine);
});
