/** What holds of every command: examples that run as they are written, JSON that is JSON, colours on a terminal alone. */
import { chmodSync, copyFileSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import t from 'tap';
import { EXAMPLES } from '../../host/cli/examples.js';
import type { ErrorReply } from '../../host/control/api.js';
import { MAGMARK } from '../../scripts/lab/daemon.js';
import { VIP } from '../../scripts/lab/plan.js';
import { Topology } from '../../scripts/lab/topology.js';
import { waitFor } from '../../scripts/lab/wait.js';
import { TCP } from '../fixture/packet.js';
import { tshark } from '../fixture/tshark.js';
import { wirePacket } from '../fixture/wire.js';
import { configFile, startDaemon, startLab, TARGET_LINES } from './lab.js';
import { sendRaw } from './raw.js';

const CONFIG = `
queues: 0
interfaces: {external: ext-vlan0, internal: ["conduit-a-*"]}
vips: [20.0.0.1/32, "2000::1/128"]
gateways: [{name: g, protocol: static, ips: [169.254.100.150, "100:100::150"]}]
shutdownDelay: 0s
streams:
  - name: a
    targets:
${TARGET_LINES}
flows:
  - {name: tcp, stream: a, priority: 1, protocols: [tcp], vips: [20.0.0.1/32, "2000::1/128"], destinationPortRanges: ["4000"]}
`;
const COMMANDS = Object.keys(EXAMPLES);
/** They go on until somebody ends them. */
const FOLLOWING = /magmark (trace|capture)/;
const probe = wirePacket(TCP, '198.51.100.9', 9, VIP[4], 4000);

t.setTimeout(600_000);
const { topology } = await startLab(t);
const daemon = startDaemon(topology, CONFIG);
await daemon.ready();
/** Where the examples are typed. */
const desk = join(topology.directory, 'desk');
mkdirSync(desk);
symlinkSync(MAGMARK, join(desk, 'magmark'));
copyFileSync(configFile(topology), join(desk, 'config.yaml'));

/** A line for a shell, in the load balancer's namespace. */
function typed(line: string) {
  const argv = [
    ...Topology.inside(topology.loadBalancer),
    'sh',
    '-c',
    `cd "$0" && PATH=".:$PATH" && ${line}`,
    desk,
  ];
  return topology.processes.command(argv, { mayFail: true });
}

/** As `typed`, while packets come. */
async function typedUnderTraffic(line: string) {
  let isOver = false;
  const over = typed(line).finally(() => {
    isOver = true;
  });
  // Many at once: a busy machine takes long to start what sends them.
  const probes = new Array<Uint8Array>(16).fill(probe);
  await waitFor(`the end of ${line}`, 60_000, async () => {
    await sendRaw(topology, probes);
    return isOver;
  });
  return over;
}

t.test('each command has examples in its help, and they run as they are written', async t => {
  const help = await typed('magmark --help');
  const listed = [...help.stdout.matchAll(/^ {2}([a-z]+) /gm)].map(([, name]) => name!);
  t.strictSame(listed.filter(name => name !== 'help').sort(), COMMANDS.toSorted());
  t.equal((await typedUnderTraffic('magmark capture -w capture.pcapng --count 5')).code, 0);
  for (const command of COMMANDS) {
    const { stdout } = await typed(`magmark ${command} --help`);
    for (const line of EXAMPLES[command]!) {
      t.ok(stdout.includes(`\n  ${line}\n`), `${command} --help shows: ${line}`);
      // The daemon runs, and what is watched on a screen is tested below.
      if (command === 'run' || line.includes('--watch')) continue;
      const limited = line.replace(/ --count \d+/, '').replace(FOLLOWING, '$& --count 1');
      const { code, stderr } = await (FOLLOWING.test(line) ? typedUnderTraffic(limited) : typed(line));
      t.equal(code, 0, `${line}: ${stderr}`);
    }
  }
});

t.test('with --json every command prints JSON, also where it fails', async t => {
  const asking = ['status', 'health', 'targets', 'flows', 'streams', 'gateways', 'diff'];
  const lines = [
    ...asking.map(command => `magmark ${command} --json`),
    'magmark validate --json config.yaml',
    'magmark schema --json',
    'magmark apply --json config.yaml',
    "magmark explain --json 'icmp 192.0.2.1 > 20.0.0.1'",
  ];
  for (const line of lines) {
    const { stdout, code } = await typed(line);
    t.equal(code, 0, line);
    t.type(JSON.parse(stdout), 'object', line);
  }
  const captured = await typedUnderTraffic('magmark capture -w json.pcapng --json --count 1');
  t.match(JSON.parse(captured.stdout), { file: 'json.pcapng', packets: 1 });

  const failing: readonly (readonly [line: string, code: string, words: RegExp])[] = [
    ...asking.map(
      command =>
        [`magmark ${command} --json --socket nowhere`, 'CONTROL_FAILED', /no magmark answers/] as const,
    ),
    ['magmark validate --json nowhere', 'CONFIG_INVALID', /nowhere: cannot be read/],
    ['magmark apply --json nowhere', 'CONFIG_INVALID', /nowhere: cannot be read/],
    ['magmark diff --json nowhere', 'CONFIG_INVALID', /nowhere: cannot be read/],
    ['magmark replay --json --config config.yaml nowhere', 'CAPTURE_UNREADABLE', /nowhere: cannot be read/],
    ['magmark explain --json nonsense', 'CONTROL_FAILED', /nonsense is not a packet/],
    ['magmark trace --json --dports 0', 'CONTROL_FAILED', /0 is not within ports/],
    ['magmark capture --json -w x --snaplen 9999', 'CONTROL_FAILED', /9999 is not a whole number/],
    ['magmark capture --json -w -', 'CAPTURE_UNREADABLE', /standard output is either/],
    ['magmark explain --json', 'USAGE', /missing required argument/],
    ['magmark status --json --nonsense', 'USAGE', /unknown option/],
    ['magmark nonsense --json', 'USAGE', /unknown command/],
  ];
  for (const [line, code, words] of failing) {
    const said = await typed(line);
    t.equal(said.code, 1, line);
    t.match(said.stderr, words, `${line}: words for people`);
    const reply = JSON.parse(said.stdout) as ErrorReply;
    t.equal(reply.code, code, line);
    t.match(reply.error, words, line);
  }
  const faults = await typed(
    "echo '{vips: [], nonsense: 1}' > faulty.yaml; magmark validate --json faulty.yaml",
  );
  t.match(JSON.parse(faults.stdout), {
    code: 'CONFIG_INVALID',
    faults: ['vips: must not be empty', /streams/, /flows/, /unknown key/],
  });
});

t.test('a command whose reader has enough ends quietly', async t => {
  for (const command of [
    'schema',
    'flows',
    'status --json',
    'status --help',
    'explain icmp 1.1.1.1 ">" 20.0.0.1',
  ]) {
    const { stderr, code } = await typed(`(magmark ${command}; echo $? > code) | true; exit $(cat code)`);
    t.equal(stderr, '', command);
    t.equal(code, 0, command);
  }
});

t.test('a capture whose disk is full holds the packets that had room', async t => {
  // A limit of 8 blocks of 512 bytes stands in for the disk.
  const line = 'ulimit -f 8; exec magmark capture -w full.pcapng --json';
  const { code, stdout, stderr } = await typedUnderTraffic(line);
  t.equal(code, 1);
  t.match(stderr, /full\.pcapng: cannot be written: E/);
  t.match(JSON.parse(stdout), { code: 'CAPTURE_UNREADABLE' });
  const comments = tshark(join(desk, 'full.pcapng'), ['frame.comment']);
  t.ok(comments.length > 10, `${comments.length} packets`);
  for (const [comment] of comments) t.match(comment, /^flow=tcp stream=a target=/);
});

const ESCAPE = '\x1b';
/** What a terminal obeys. */
const STEERS = /(?!\n)[\p{Cc}\p{Cf}]/u;
const GREEN = '\x1b[32m';
/** On a terminal of 24 lines; whoever runs the tests may ask for no colours. */
const onTerminal = (line: string) =>
  `script -qec ${JSON.stringify(`stty rows 24 cols 100; unset NO_COLOR; TERM=xterm; ${line}`)} /dev/null`;

t.test('colours are on a terminal alone, and not where NO_COLOR asks for none', async t => {
  for (const command of ['status', 'targets', 'gateways', 'health']) {
    t.ok((await typed(onTerminal(`magmark ${command}`))).stdout.includes(GREEN), command);
    for (const line of [`magmark ${command}`, onTerminal(`NO_COLOR=1 magmark ${command}`)])
      t.notOk((await typed(line)).stdout.includes(ESCAPE), line);
  }
  const unsized = await typed(`script -qec 'stty rows 0 cols 0; magmark status' /dev/null`);
  t.match(unsized.stdout, /4 targets, 0 of them take no traffic/, 'a terminal that does not know its size');
});

t.test('a name of a file does not steer the terminal', async t => {
  // The shell makes the characters: ESC, and CSI of C1.
  const name = `"$(printf '\\033[2J\\302\\2332J.yaml')"`;
  const { code, stdout, stderr } = await typed(
    `cp config.yaml ${name}; magmark apply ${name}; magmark status`,
  );
  t.equal(code, 0);
  t.match(stdout, /^\\u001b\[2J\\u009b2J\.yaml: applied/);
  t.match(stdout, /configuration applied from .*\\u001b\[2J\\u009b2J\.yaml/);
  t.notMatch(`${stdout}${stderr}`, STEERS);
});

t.test(
  'status --watch follows the size of its screen, and a daemon that goes and comes, until Ctrl-C',
  async t => {
    const line = onTerminal(
      '(until [ -e narrow ]; do sleep 0.1; done; stty cols 40 < /dev/tty) & trap : INT; magmark status --watch; echo left; stty -a',
    );
    const argv = [
      ...Topology.inside(topology.loadBalancer),
      'sh',
      '-c',
      `cd "$0" && PATH=".:$PATH" exec ${line}`,
      desk,
    ];
    const child = topology.processes.start(argv, join(topology.directory, 'watch.log'), 'pipes');
    let shown = '';
    child.stdout!.on('data', chunk => {
      shown += chunk;
    });
    const frames = () => shown.split('\x1b[H\x1b[2J').slice(1);
    const widest = (frame: string) =>
      Math.max(
        ...stripVTControlCharacters(frame)
          .split('\r\n')
          .map(({ length }) => length),
      );
    await waitFor('two looks', 60_000, () => frames().length > 2);
    t.ok(widest(frames()[1]!) > 40 && widest(frames()[1]!) <= 100);
    writeFileSync(join(desk, 'narrow'), '');
    await waitFor('a narrow look', 60_000, () => frames().length > 3 && widest(frames().at(-2)!) <= 40);
    await daemon.stop();
    await waitFor('word of its end', 60_000, () => frames().at(-1)!.includes('no magmark answers there'));
    const next = startDaemon(topology, CONFIG);
    await next.ready();
    await waitFor('the next one', 60_000, () => frames().at(-1)!.includes(`pid ${next.pid}`));
    child.stdin!.write('\x03');
    await waitFor('its end', 60_000, () => shown.includes('left'));
    await waitFor('the settings of the terminal', 60_000, () => shown.includes('-echoprt'));
    t.match(shown, / icanon .* echo /s, 'the terminal is as it was');
    await next.stop();
  },
);

t.test('what nft says does not steer the terminal', async t => {
  const fake = join(desk, 'fake');
  mkdirSync(fake);
  writeFileSync(join(fake, 'nft'), "#!/bin/sh\nprintf 'Error: \\033[2J\\302\\2332J why\\n' >&2\nexit 1\n");
  chmodSync(join(fake, 'nft'), 0o755);
  const { code, stdout, stderr } = await typed('PATH="$0/fake:$PATH" magmark run --config config.yaml');
  t.not(code, 0);
  t.match(stderr, /Error: \\+u001b\[2J\\+u009b2J why/);
  t.notMatch(`${stdout}${stderr}`, STEERS);
});
