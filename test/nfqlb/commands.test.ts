/** nfqlb's command line against a real `flowlb`: what is printed, letter by letter, and the exit codes. */
import type { Test } from 'tap';
import { insideNamespace } from '../queue/namespace.js';
import { Session } from './session.js';

await insideNamespace(import.meta.url);
const { default: t } = await import('tap');
t.setTimeout(900_000);

const session = new Session();
t.teardown(() => session.end());

/** Words of a command, what it prints, its exit code; stderr: a part of it, null: nothing. */
type Row = readonly [
  command: string | readonly string[],
  stdout: string,
  code?: number,
  stderr?: RegExp | null,
];

function play(t: Test, rows: readonly Row[]): void {
  for (const [command, stdout, code = 0, stderr = null] of rows) {
    const said = session.nfqlb(command);
    const claim = `nfqlb ${typeof command === 'string' ? command : command.join(' ')}`;
    t.equal(said.stdout, stdout, `${claim}: stdout`);
    t.equal(said.code, code, `${claim}: exit code`);
    if (stderr === null) t.equal(said.stderr, '', `${claim}: stderr`);
    else t.match(said.stderr, stderr, `${claim}: stderr`);
  }
}

t.test('with no daemon a command fails and says where it looked', async t => {
  for (const command of [
    'init --shm=a',
    'show',
    'flow-list',
    'flow-set --name=f --target=a',
    'stats',
    'loglevel 7',
  ]) {
    const { stdout, stderr, code } = session.nfqlb(command);
    t.equal(stdout, '', command);
    t.equal(code, 1, command);
    t.match(stderr, /control socket .*no magmark answers there/, command);
  }
});

t.test('what needs no daemon works without', async t => {
  play(t, [
    ['primebelow 10000', '9973\n'],
    ['primebelow 3', '3\n'],
    ['primebelow 2', '2\n'],
    ['primebelow 0', '', 1, /There is no prime below 0/],
    ['primebelow 1', '', 1, /There is no prime below 1/],
    ['primebelow 2147483647', '2147483647\n'],
    ['primebelow', ''],
    ['fwmark --proto=tcp --src=10.0.0.1:5000 --dst=20.0.0.1:4000', '{ "hash": 1919124785 }\n'],
    ['fwmark --src=10.0.0.1:5000 --dst=20.0.0.1:4000', '{ "hash": 3489484833 }\n'],
    ['version', `magmark ${(await import('../../host/version.js')).version}\n`],
    ['lb --queue=2', '', 1, /no lb here/],
  ]);
  const help = session.done('--help');
  t.match(help, /^Usage: nfqlb <command> \[opt\.\.\.\]\nCommands:\n {2}flowlb\n/);
  t.equal(session.done([]), help, 'no command is a question for help');
  t.match(
    session.done('flow-set -h'),
    /^flow-set \[options\]\n[\s\S]*\n {2}--name= name of the flow \(required\)\n/,
  );
});

t.test('a command line that is wrong is refused before anybody is asked', async t => {
  const rows: readonly (readonly [string, RegExp])[] = [
    ['flow-sett', /Unknown command \[flow-sett\]/],
    ['toString', /Unknown command/],
    ['flow-set --target=a', /Missing option \[--name\]/],
    ['flow-set', /Missing option \[--name\].*\n.*\[--target\]/],
    ['flow-delete', /Missing option \[--name\]/],
    ['delete', /Missing option \[--shm\]/],
    ['fwmark --src=1.2.3.4:5', /Missing option \[--dst\]/],
    ['fwmark --src=1.2.3.4 --dst=1.2.3.4:5', /--src: 1\.2\.3\.4 is not of the form/],
    ['fwmark --src=1.2.3.400:5 --dst=1.2.3.4:5', /1\.2\.3\.400 is not an IP address/],
    ['fwmark --src=1.2.3.4:70000 --dst=1.2.3.4:5', /70000 is not a whole number from 0 to 65535/],
    ['fwmark --proto=icmp --src=1.2.3.4:5 --dst=1.2.3.4:5', /icmp is none of tcp, udp, sctp/],
    ['init --M=big', /--M: big is not a whole number from 0 to 10000000/],
    ['init --N=0', /--N: 0 is not a whole number from 1 to 32767/],
    ['init --shm', /--shm needs a value/],
    ['init --size=5', /no option --size; there are --ownfw, --shm, --M, --N/],
    ['init extra', /init does not take extra/],
    ['activate --index=-1 5', /--index: -1 is not a whole number/],
    ['activate --index=1', /needs one mark/],
    ['activate --index=1 5001 5002', /needs one mark/],
    ['activate 4294967296', /mark: 4294967296 is not a whole number from 0 to 4294967295/],
    ['activate fifty', /mark: fifty is not/],
    ['flow-set --name=f --target=a --prio=high', /--prio: high is not/],
    ['flow-set --name=f --target=a --dports=80', /ports without --protocols/],
    ['flow-set --name=f --target=a --udpencap=0', /--udpencap: 0 is not a whole number from 1 to 65535/],
    ['trace', /one of --mask and --selection/],
    ['trace --mask=1 --selection=flows', /one of --mask and --selection/],
    ['trace --mask=0x1ffffffff', /not a number of 32 bits/],
    ['trace --selection=flows,all', /there is no all; there are log, packet/],
    ['loglevel loud', /loglevel: loud is not/],
    ['loglevel 9', /loglevel: 9 is not a whole number from 0 to 7/],
    ['flowlb --queue=3:0', /--queue: 3:0 is reversed/],
    ['flowlb --queue=0:99', /more than 64 queues/],
    ['flowlb --queue=x', /--queue: x is not a queue range/],
    ['flowlb --qlength=0', /--qlength: 0 is not a whole number from 1/],
    ['flowlb --mtu=100', /--mtu: 100 is not a whole number from 576/],
    ['flowlb --spin=1001', /--spin: 1001 is not a whole number from 0 to 1000/],
    ['flowlb --spin=-1', /--spin: -1 is not a whole number/],
    ['flowlb --spin=50us', /--spin: 50us is not a whole number/],
    ['flowlb --spin=0.5', /--spin: 0.5 is not a whole number/],
    ['flowlb --spin', /--spin/],
    ['flowlb --hash_mode=2', /--hash_mode: 2 is not a whole number from 0 to 1/],
    ['flowlb --nolb_fwmark=-2', /--nolb_fwmark: -2 is not/],
    ['flowlb --promiscuous_ping=yes', /--promiscuous_ping takes no value/],
  ];
  for (const [command, message] of rows) {
    const { stdout, stderr, code } = session.nfqlb(command);
    t.equal(stdout, '', command);
    t.equal(code, 1, command);
    t.match(stderr, message, command);
  }
});

t.test('flowlb that is started is ready for commands at once, and says what nfqlb says first', async t => {
  session.spawn('--queue=0:1', '--qlength=64', '--tun=x', '--reassembler=10', '--ft_ttl=100');
  play(t, [['init --shm=early --M=7 --N=3', '']]);
  await session.stop();
  t.match(session.log, /^FragTable; size=500, buckets=500, frag=100, mtu=1500, ttl=100\n/);
  t.match(session.log, /"--reassembler \(.*later fragments follow their first/, 'and what it does not do');
});

t.test('streams', async t => {
  await session.start('--queue=0:1', '--hash_mode=0');
  play(t, [
    ['show', '', 1, /there is no shm nfqlb; there is none/],
    ['init', ''],
    [
      'show',
      `Shm: nfqlb\n  Fw: own=0\n  Maglev: M=997, N=32\n   Lookup:${' -1'.repeat(25)}...\n   Active:\n`,
    ],
    ['init --ownfw=3 --shm=small --M=7 --N=3', ''],
    ['init --shm=tiny --M=2 --N=3', 'M adjusted; 2 -> 3\n'],
    ['init --shm=few --M=5 --N=6', '', 1, /N can't be larger than M: 6 targets, 5 slots/],
    ['init --shm=a/b', '', 1, /init\.name|name: a name has letters/],
    ['activate --index=0 --shm=small 1', ''],
    ['activate --index=1 --shm=small 2', ''],
    ['activate --index=2 --shm=small 3', ''],
    [
      'show --shm=small',
      'Shm: small\n  Fw: own=3\n  Maglev: M=7, N=3\n   Lookup: 0 0 1 2 1 2 0...\n   Active: 1(0) 2(1) 3(2)\n',
    ],
    ['activate --index=2 --shm=small 3', ''],
    ['activate --index=3 --shm=small 4', '', 1, /index 3 is beyond the 3 of small: 0 to 2/],
    ['deactivate --index=3 --shm=small', '', 1, /index 3 is beyond/],
    ['deactivate --index=1 --shm=small', ''],
    ['deactivate --index=1 --shm=small', ''],
    [
      'show --shm=small',
      'Shm: small\n  Fw: own=3\n  Maglev: M=7, N=3\n   Lookup: 2 0 0 2 0 2 0...\n   Active: 1(0) 3(2)\n',
    ],
    // Without an index: what is active stays, the others take the lowest free ones, and what does not fit is said.
    ['activate --shm=small 3 0 9', '', 0, /small is full: not activated: 9/],
    [
      'show --shm=small',
      'Shm: small\n  Fw: own=3\n  Maglev: M=7, N=3\n   Lookup: 0 0 1 2 1 2 0...\n   Active: 1(0) 0(1) 3(2)\n',
    ],
    ['deactivate --shm=small 0 3 77', ''],
    [
      'show --shm=small',
      'Shm: small\n  Fw: own=3\n  Maglev: M=7, N=3\n   Lookup: 0 0 0 0 0 0 0...\n   Active: 1(0)\n',
    ],
    ['activate --index=0 --shm=small 4294967295', ''],
    [
      'fwmark --shm=small --src=10.0.0.1:1 --dst=20.0.0.1:1',
      '{ "hash": 3489484833, "lookupindex": 2, "activeindex": 0, "fwmark": 4294967295 }\n',
    ],
    [
      'fwmark --shm=tiny --src=10.0.0.1:1 --dst=20.0.0.1:1',
      '{ "hash": 3489484833, "lookupindex": 0, "activeindex": -1, "fwmark": -1 }\n',
    ],
    [
      'fwmark --shm=none --src=10.0.0.1:1 --dst=20.0.0.1:1',
      '',
      1,
      /there is no shm none .*there are: nfqlb, small, tiny/,
    ],
    ['activate --shm=none --index=0 5', '', 1, /there is no shm none \(nfqlb init --shm=none makes it\)/],
    ['deactivate --shm=none --index=0', '', 1, /there is no shm none/],
    ['init --shm small -M 11 --N=3', ''],
    [
      'show --shm=small',
      `Shm: small\n  Fw: own=0\n  Maglev: M=11, N=3\n   Lookup:${' -1'.repeat(11)}...\n   Active:\n`,
    ],
    ['delete --shm=none', ''],
    ['delete --shm=tiny', ''],
    ['delete --shm=tiny', ''],
    ['show --shm=tiny', '', 1, /there is no shm tiny; there are: nfqlb, small/],
  ]);
});

const FIRST = `{
  "name": "first",
  "priority": 10,
  "protocols": [ "tcp", "udp" ],
  "dests": [
    "::ffff:20.0.0.0/120",
    "2000::1/128",
    "::ffff:10.0.0.1/128"
  ],
  "dports": [
    "80",
    "4000-4003"
  ],
  "srcs": [
    "::/0",
    "::ffff:0.0.0.0/96"
  ],
  "sports": [
    "1-65535"
  ],
  "match": [
    "tcp[13:1]&0x2=0x2",
    "udp[0:2]=0x8"
  ],
  "matches_count": 0,
  "user_ref": "nfqlb"
}`;

t.test('flows', async t => {
  play(t, [
    ['flow-list', '[]\n'],
    ['flow-list-names', '[]\n'],
    [
      'flow-set --name=first --target=nfqlb --prio=10 --protocols=udp,TCP,udp --dsts=20.0.0.7/24,2000::1/128,::ffff:10.0.0.1/128 --srcs=::/0,0.0.0.0/0 --dports=4003,4000-4002,80 --sports=1-1024,1000-65535 --match=tcp[13:1]&0x02=0x02,udp[0:2]=010',
      'OK\n',
    ],
    ['flow-list --name=first', FIRST],
    ['flow-set --name=any --target=nfqlb', 'OK\n'],
    ['flow-set --name=low --target=small --prio=-5', 'OK\n'],
    ['flow-set --name=sctp --target=small --prio=10 --protocols=sctp --udpencap=9899', 'OK\n'],
    ['flow-list-names', '[\n  "first",\n  "#sctp",\n  "sctp",\n  "any",\n  "low"\n]\n'],
    [
      'flow-list',
      `[${FIRST},
{
  "name": "#sctp",
  "priority": 10,
  "protocols": [ "udp" ],
  "dports": [
    "9899"
  ],
  "udpencap": 9899,
  "matches_count": 0,
  "user_ref": "NULL"
},
{
  "name": "sctp",
  "priority": 10,
  "protocols": [ "sctp" ],
  "udpencap": 9899,
  "matches_count": 0,
  "user_ref": "small"
},
{
  "name": "any",
  "priority": 0,
  "matches_count": 0,
  "user_ref": "nfqlb"
},
{
  "name": "low",
  "priority": -5,
  "matches_count": 0,
  "user_ref": "small"
}]
`,
    ],
    ['flow-list --name=none', '', 0, /there is no flow none/],
    // Defined anew it keeps its place; a new one of the same priority follows.
    ['flow-set --name=last --target=small --prio=10', 'OK\n'],
    ['flow-set --name=first --target=small --prio=10', 'OK\n'],
    ['flow-list-names', '[\n  "first",\n  "#sctp",\n  "sctp",\n  "last",\n  "any",\n  "low"\n]\n'],
    ['flow-delete --name=sctp', 'OK\n'],
    ['flow-delete --name=none', 'OK\n'],
    ['flow-delete --name=last', 'OK\n'],
    ['flow-list-names', '[\n  "first",\n  "any",\n  "low"\n]\n'],
    // The hidden flow stands before its own; after a lower priority behind it, after a higher one before it again.
    ['flow-set --name=sctp --target=small --prio=10 --protocols=SCTP --udpencap=9899', 'OK\n'],
    ['flow-set --name=sctp --target=small --protocols=sctp --udpencap=9899', 'OK\n'],
    ['flow-list-names', '[\n  "first",\n  "sctp",\n  "#sctp",\n  "any",\n  "low"\n]\n'],
    ['flow-set --name=sctp --target=small --protocols=sctp --udpencap=9899', 'OK\n'],
    ['flow-list-names', '[\n  "first",\n  "sctp",\n  "#sctp",\n  "any",\n  "low"\n]\n'],
    ['flow-set --name=sctp --target=small --prio=10 --protocols=sctp --udpencap=9899', 'OK\n'],
    ['flow-list-names', '[\n  "first",\n  "#sctp",\n  "sctp",\n  "any",\n  "low"\n]\n'],
    ['flow-set --name=sctp --target=small --prio=0 --protocols=sctp --udpencap=9899', 'OK\n'],
    ['flow-delete --name=sctp', 'OK\n'],
    ['flow-set --name=sctp --target=small --prio=0 --protocols=sctp --udpencap=9899', 'OK\n'],
    ['flow-list-names', '[\n  "first",\n  "any",\n  "#sctp",\n  "sctp",\n  "low"\n]\n'],
    ['flow-delete --name=sctp', 'OK\n'],
    // An empty list is an absent one.
    [
      'flow-set --name=empty --target=small --prio=1 --protocols= --dsts= --srcs= --dports= --sports= --match=',
      'OK\n',
    ],
    [
      'flow-list --name=empty',
      '{\n  "name": "empty",\n  "priority": 1,\n  "matches_count": 0,\n  "user_ref": "small"\n}',
    ],
    ['flow-set --name=empty --target=small --protocols= --dports=80', '', 1, /ports without --protocols/],
    // Statements as nfqlb prints them.
    [
      'flow-set --name=empty --target=small --match=tcp[012:2]&0x0=010,tcp[0:4]&0xffffffff=5,sctp[8:4]&0x0f=255',
      'OK\n',
    ],
    [
      'flow-list --name=empty',
      '{\n  "name": "empty",\n  "priority": 0,\n  "match": [\n    "tcp[10:2]=0x8",\n    "tcp[0:4]&0xffffffff=0x5",\n    "sctp[8:4]&0xf=0xff"\n  ],\n  "matches_count": 0,\n  "user_ref": "small"\n}',
    ],
    ['flow-delete --name=empty', 'OK\n'],
    [
      'flow-set --name=f --target=none',
      'FAIL: there is no shm none (nfqlb init --shm=none makes it); there are: nfqlb, small\n',
      255,
    ],
    [
      'flow-set --name=#f --target=small',
      'FAIL: name: a name has letters, digits, "-", "_", "+" and "." only (it is "#f")\n',
      255,
    ],
    [
      'flow-set --name=f --target=small --protocols=tcp --dports=0',
      'FAIL: dports[0]: 0 is not within ports 1 to 65535\n',
      255,
    ],
    [
      'flow-set --name=f --target=small --protocols=tcp --dports=65536',
      'FAIL: dports[0]: 65536 is not within ports 1 to 65535\n',
      255,
    ],
    [
      'flow-set --name=f --target=small --protocols=tcp --sports=9-3',
      'FAIL: sports[0]: 9-3 is reversed: write 3-9\n',
      255,
    ],
    [
      'flow-set --name=f --target=small --protocols=icmp',
      'FAIL: protocols[0]: Invalid option: expected one of "tcp"|"udp"|"sctp" (it is "icmp")\n',
      255,
    ],
    [
      'flow-set --name=f --target=small --dsts=10.0.0.1',
      'FAIL: dsts[0]: 10.0.0.1 has no prefix length: write 10.0.0.1/32\n',
      255,
    ],
    [
      'flow-set --name=f --target=small --dsts=10.0.0.1/33',
      'FAIL: dsts[0]: 10.0.0.1/33 has a wrong prefix length: 0 to 32 is possible\n',
      255,
    ],
    [
      'flow-set --name=f --target=small --match=icmp[0:1]=8',
      'FAIL: match[0]: icmp[0:1]=8 is not of the form PROTOCOL[OFFSET:WIDTH] & 0xMASK = VALUE (width 1, 2 or 4)\n',
      255,
    ],
    [
      'flow-set --name=f --target=small --protocols=tcp,sctp --udpencap=9899',
      'FAIL: udpencap: only with --protocols=sctp and nothing else\n',
      255,
    ],
    [
      'flow-set --name=f --target=small --udpencap=9899',
      'FAIL: udpencap: only with --protocols=sctp and nothing else\n',
      255,
    ],
    ['flow-list-names', '[\n  "first",\n  "any",\n  "low"\n]\n'],
  ]);
});

t.test('a stream that is deleted lives on for its flows alone, and init takes them over', async t => {
  play(t, [
    ['activate --index=1 --shm=small 5', ''],
    ['delete --shm=small', ''],
    ['show --shm=small', '', 1, /there is no shm small/],
    ['activate --index=0 --shm=small 6', '', 1, /there is no shm small/],
    ['fwmark --shm=small --src=10.0.0.1:1 --dst=20.0.0.1:1', '', 1, /there is no shm small/],
    ['flow-set --name=more --target=small', 'OK\n'],
    ['init --shm=small --M=7 --N=3', ''],
    [
      'show --shm=small',
      `Shm: small\n  Fw: own=0\n  Maglev: M=7, N=3\n   Lookup:${' -1'.repeat(7)}...\n   Active:\n`,
    ],
    ['delete --shm=small', ''],
    ['flow-delete --name=first', 'OK\n'],
    ['flow-delete --name=low', 'OK\n'],
    ['flow-delete --name=more', 'OK\n'],
    [
      'flow-set --name=late --target=small',
      'FAIL: there is no shm small (nfqlb init --shm=small makes it); there are: nfqlb\n',
      255,
    ],
  ]);
});

t.test('trace flows, log level, fragments', async t => {
  play(t, [
    ['trace-flow-list', '[]\n'],
    ['trace-flow-set --name=syn --protocols=tcp --srcs=10.0.0.0/8 --match=tcp[13:1]&0x02=0x02', 'OK\n'],
    ['trace-flow-set --name=all', 'OK\n'],
    ['trace-flow-set --name=bad --dsts=x/8', 'FAIL: dsts[0]: x is not an IP address\n', 255],
    ['trace-flow-list-names', '[\n  "syn",\n  "all"\n]\n'],
    [
      'trace-flow-list --name=syn',
      `{
  "name": "syn",
  "priority": 0,
  "protocols": [ "tcp" ],
  "srcs": [
    "::ffff:10.0.0.0/104"
  ],
  "match": [
    "tcp[13:1]&0x2=0x2"
  ],
  "matches_count": 0
}`,
    ],
    ['trace-flow-delete --name=syn', 'OK\n'],
    ['trace-flow-delete --name=syn', 'OK\n'],
    ['trace-flow-list', '[{\n  "name": "all",\n  "priority": 0,\n  "matches_count": 0\n}]\n'],
    ['flow-list-names', '[\n  "any"\n]\n'],
    ['loglevel', 'loglevel=5\n'],
    ['loglevel 7', 'loglevel=7\n'],
    ['loglevel', 'loglevel=7\n'],
  ]);
  const stats = session.done('stats');
  t.match(stats, /^\{\n {2}"hsize": {12}32768,\n {2}"ttlMillis": {8}200,\n/);
  t.match(stats, /\n {2}"fragsDiscarded": {3}0,\n {2}"reAssembled": {6}0\n\}\n$/);
  t.equal(Object.keys(JSON.parse(stats) as object).length, 15);
});

t.test('a second flowlb on the same socket or queue is refused, and the first goes on', async t => {
  const second = session.nfqlb('flowlb --queue=7');
  t.equal(second.code, 1);
  t.match(second.stderr, /another process listens there/);
  const third = session.nfqlb(['flowlb', '--queue=1', '--socket', `${session.socket}3`]);
  t.equal(third.code, 1);
  t.match(third.stderr, /queue 1: bind: EPERM: it is held by another process/);
  t.equal(session.done('flow-list-names'), '[\n  "any"\n]\n');
});

t.test('it ends when it is asked, and forgets', async t => {
  t.equal(await session.stop('SIGINT'), 0);
  t.equal(session.nfqlb('flow-list').code, 1);
  await session.start('--queue=0:1');
  play(t, [['flow-list', '[]\n']]);
  t.equal(await session.stop('SIGTERM'), 0);
});
