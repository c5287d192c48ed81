/** What one file, one program, one socket or one reader of the log can do to a daemon: each costs an error, none the service. */
import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { MAGMARK } from '../../scripts/lab/daemon.js';
import { Topology } from '../../scripts/lab/topology.js';
import { configFile, kernelState, startDaemon, startLab, writeConfig } from './lab.js';

t.setTimeout(600_000);
const { topology } = await startLab(t);
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
