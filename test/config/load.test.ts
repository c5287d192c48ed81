import { readFileSync } from 'node:fs';
import t from 'tap';
import { parseHost, parsePrefix, prefixText } from '../../host/config/address.js';
import { parseByteMatch } from '../../host/config/byte-match.js';
import { loadConfig } from '../../host/config/load.js';
import { configWarnings } from '../../host/config/resolve.js';
import { jsonSchema } from '../../host/config/schema.js';
import { Simulator } from '../../host/simulator/simulator.js';
import type { ListenAddress } from '../../host/types/config.js';
import { ConfigError } from '../../host/types/errors.js';

const reference = readFileSync(new URL('../../../scripts/lab/config.yaml', import.meta.url), 'utf8');

function faults(text: string): readonly string[] {
  try {
    loadConfig(text, 'file.yaml');
  } catch (error) {
    if (error instanceof ConfigError) return error.faults;
    throw error;
  }
  return [];
}

const base = `
vips: [20.0.0.1/32, "2000::1/128"]
streams:
  - name: a
    maxTargets: 10
    targets: [{identifier: 1, ips: [172.16.0.1, "fd00::1"]}]
flows:
  - {name: f, stream: a, priority: 1, protocols: [tcp], vips: [20.0.0.1/32, "2000::1/128"], destinationPortRanges: ["4000"]}
`;

t.test('the configuration of the reference system is valid and has its marks', async t => {
  const config = loadConfig(reference, 'config.yaml');
  t.strictSame(
    config.streams[0]!.targets.map(target => target.fwmark),
    [5069, 5062, 5044, 5073],
  );
  t.strictSame(config.queues, { first: 0, last: 3 });
  t.strictSame(configWarnings(config), []);
});

t.test('absent keys have their defaults, and JSON is YAML too', async t => {
  const config = loadConfig(
    '{"vips": ["20.0.0.1/32"], "streams": [{"name": "s"}], "flows": []}',
    'file.json',
  );
  t.match(config, {
    queues: { first: 0, last: 3 },
    queueLength: 1024,
    queueMark: 0x1000,
    markMask: 0xffffffff,
    queueSpinMicroseconds: 0,
    interfaces: { external: null, internal: [] },
    hashMode: 'sctp-ports',
    fragments: 'kernel',
    fragmentTimeoutMs: 500,
    promiscuousPing: true,
    noFlowFwmark: null,
    noTargetsFwmark: null,
  });
  t.match(config.streams[0], { maxTargets: 100, tableSize: 10000, fwmarkOffset: 5000, targets: [] });
});

t.test('streams take the next free range of marks, and step over what is spoken for', async t => {
  const streams = (more: string) =>
    loadConfig(`{vips: [20.0.0.1/32], flows: [], streams: [${more}]}`, 'f').streams.map(s => s.fwmarkOffset);
  t.strictSame(
    streams('{name: a}, {name: b}, {name: c, maxTargets: 5}, {name: d}'),
    [5000, 5100, 5200, 5205],
  );
  t.strictSame(streams('{name: a}, {name: b, fwmarkOffset: 5050}'), [5150, 5050]);
  t.strictSame(
    streams('{name: a, fwmarkOffset: 0, maxTargets: 252}, {name: b, fwmarkOffset: 255, maxTargets: 3840}'),
    [0, 255],
  );
});

t.test('every fault is named with its path, one a line', async t => {
  const replaced = (from: string, to: string) => base.replace(from, to);
  const rows: [string, string, string[]][] = [
    [
      'an identifier above maxTargets',
      replaced('identifier: 1,', 'identifier: 11,'),
      ['streams[0].targets[0].identifier: 11 is above maxTargets 10'],
    ],
    ['an unknown key', `${base}colour: red\n`, ['colour: unknown key']],
    [
      'an unknown key inside',
      replaced('priority: 1,', 'priority: 1, prio: 2,'),
      ['flows[0].prio: unknown key'],
    ],
    ['a duplicate key', `${base}vips: []\n`, ['file.yaml:9:1: duplicated mapping key']],
    ['a missing key', replaced('priority: 1,', ''), ['flows[0].priority: required, but missing']],
    [
      'no vips of a flow',
      replaced('vips: [20.0.0.1/32, "2000::1/128"], d', 'vips: [], d'),
      ['flows[0].vips: must not be empty'],
    ],
    ['an unknown stream', replaced('stream: a,', 'stream: b,'), ['flows[0].stream: there is no stream b']],
    [
      'a prefix without length',
      replaced('vips: [20.0.0.1/32,', 'vips: [20.0.0.1,'),
      ['vips[0]: 20.0.0.1 has no prefix length: write 20.0.0.1/32'],
    ],
    [
      'a wrong length',
      replaced('vips: [20.0.0.1/32,', 'vips: [20.0.0.1/33,'),
      ['vips[0]: 20.0.0.1/33 has a wrong prefix length: 0 to 32 is possible'],
    ],
    [
      'an octal address',
      replaced('ips: [172.16.0.1,', 'ips: [172.16.0.01,'),
      ['streams[0].targets[0].ips[0]: 172.16.0.01 is not an IP address'],
    ],
    [
      'a mapped address',
      replaced('"fd00::1"', '"::ffff:1.2.3.4"'),
      ['streams[0].targets[0].ips[1]: ::ffff:1.2.3.4 is IPv4-mapped: write 1.2.3.4'],
    ],
    [
      'a target without a family of its VIPs',
      replaced(', "fd00::1"', ''),
      ['streams[0].targets[0].ips: no IPv6 address, but the stream has IPv6 VIPs'],
    ],
    [
      'an IPv4 VIP that is written as IPv6, and no IPv4 target for it',
      replaced('172.16.0.1, ', '').replace(
        'vips: [20.0.0.1/32, "2000::1/128"], d',
        'vips: ["::ffff:1400:1/128"], d',
      ),
      ['streams[0].targets[0].ips: no IPv4 address, but the stream has IPv4 VIPs'],
    ],
    [
      'a flow for all IPv6 addresses, which takes IPv4 too, and no IPv4 target',
      replaced('172.16.0.1, ', '').replace('vips: [20.0.0.1/32, "2000::1/128"], d', 'vips: ["::/0"], d'),
      ['streams[0].targets[0].ips: no IPv4 address, but the stream has IPv4 VIPs'],
    ],
    [
      'the same where no IPv4 is steered here',
      replaced('172.16.0.1, ', '')
        .replace('vips: [20.0.0.1/32, "2000::1/128"], d', 'vips: ["::/0"], d')
        .replace('vips: [20.0.0.1/32, ', 'vips: ['),
      [],
    ],
    [
      'two addresses of a family',
      replaced('"fd00::1"', '172.16.0.2, "fd00::1"').replace('172.16.0.2, "fd00::1"', '172.16.0.2'),
      [
        'streams[0].targets[0].ips: 2 IPv4 addresses, one is possible',
        'streams[0].targets[0].ips: no IPv6 address, but the stream has IPv6 VIPs',
      ],
    ],
    [
      'an address that no neighbour has',
      replaced('172.16.0.1,', '127.0.0.1,'),
      ["streams[0].targets[0].ips[0]: 127.0.0.1 is no neighbour's address: it is loopback"],
    ],
    [
      'a key that would break its line',
      `${base}"a\\nb\\u001b[31m": 1\n`,
      ['["a\\nb\\u001b[31m"]: unknown key'],
    ],
    [
      'an interface that nft would take for a set',
      `${base}interfaces: {internal: ["@x"]}\n`,
      [
        'interfaces.internal[0]: an interface pattern is a name of 1 to 15 bytes, or a shorter beginning with "*" at its end (it is "@x")',
      ],
    ],
    [
      'ports without protocols',
      replaced('protocols: [tcp], ', ''),
      ['flows[0].destinationPortRanges: ports need protocols'],
    ],
    [
      'source ports without protocols',
      replaced('protocols: [tcp], ', '').replace('destinationPortRanges', 'sourcePortRanges'),
      ['flows[0].sourcePortRanges: ports need protocols'],
    ],
    [
      'an encapsulation port with more than sctp',
      replaced('protocols: [tcp],', 'protocols: [sctp, tcp], udpEncapPort: 9899,'),
      ['flows[0].udpEncapPort: only with protocols [sctp]'],
    ],
    [
      'marks above 32 bits',
      replaced('maxTargets: 10', 'maxTargets: 10\n    fwmarkOffset: 4294967286'),
      ['streams[0].fwmarkOffset: marks up to 4294967296 do not fit 32 bits'],
    ],
    [
      'a priority that is no integer',
      replaced('priority: 1,', 'priority: 1.5,'),
      ['flows[0].priority: a priority is an integer from -(2^53 - 1) to 2^53 - 1 (it is 1.5)'],
    ],
    [
      'a priority that would lose its last digits',
      replaced('priority: 1,', 'priority: 9007199254740992,'),
      ['flows[0].priority: a priority is an integer from -(2^53 - 1) to 2^53 - 1 (it is 9007199254740992)'],
    ],
    [
      'a priority far below',
      replaced('priority: 1,', 'priority: -100000000000000000000,'),
      [
        'flows[0].priority: a priority is an integer from -(2^53 - 1) to 2^53 - 1 (it is -100000000000000000000)',
      ],
    ],
    [
      'port 0',
      replaced('["4000"]', '["0-5"]'),
      ['flows[0].destinationPortRanges[0]: 0-5 is not within ports 1 to 65535'],
    ],
    [
      'a reversed range',
      replaced('["4000"]', '["5-4"]'),
      ['flows[0].destinationPortRanges[0]: 5-4 is reversed: write 4-5'],
    ],
    [
      'an encapsulation port without sctp',
      replaced('protocols: [tcp],', 'protocols: [tcp], udpEncapPort: 9899,'),
      ['flows[0].udpEncapPort: only with protocols [sctp]'],
    ],
    [
      'marks of the kernel tables',
      replaced('maxTargets: 10', 'maxTargets: 10, fwmarkOffset: 250'.replace(', ', '\n    ')),
      ["streams[0].fwmarkOffset: marks 251-260 meet 253-255 of the kernel's own routing tables"],
    ],
    [
      'the mark that queues, for no flow',
      `${base}noFlowFwmark: 0x1000\n`,
      ['noFlowFwmark: 4096 is queueMark, which leads packets into the queue'],
    ],
    [
      'the mark that queues, for no target',
      `${base}queueMark: 77\nnoTargetsFwmark: 77\n`,
      ['noTargetsFwmark: 77 is queueMark, which leads packets into the queue'],
    ],
    [
      'a mark that queues among those of targets',
      `${replaced('maxTargets: 10', 'maxTargets: 10\n    fwmarkOffset: 70')}queueMark: 77\n`,
      ['streams[0].fwmarkOffset: marks 71-80 meet 77-77 of queueMark'],
    ],
    [
      'marks that do not fit markMask',
      `${base}markMask: 0x3ff\nnoFlowFwmark: 0x400\nnoTargetsFwmark: 0x3ff\n`,
      [
        'queueMark: 4096 (0x1000) does not fit markMask 0x3ff',
        'noFlowFwmark: 1024 (0x400) does not fit markMask 0x3ff',
        'streams[0].fwmarkOffset: marks 5001-5010 (0x1389-0x1392) do not fit markMask 0x3ff',
      ],
    ],
    [
      'some marks of a range that does not fit markMask',
      `${base}markMask: 0x1399\n`,
      ['streams[0].fwmarkOffset: marks 5001-5010 (0x1389-0x1392) do not fit markMask 0x1399'],
    ],
    [
      'a markMask without a bit',
      `${base}markMask: 0\n`,
      ['markMask: Too small: expected number to be >=1 (it is 0)'],
    ],
    ['reversed queues', `${base}queues: "3:0"\n`, ['queues: 3:0 is reversed: write 0:3']],
    [
      'a spin below none',
      `${base}queueSpinMicroseconds: -1\n`,
      ['queueSpinMicroseconds: Too small: expected number to be >=0 (it is -1)'],
    ],
    [
      'a spin beyond a millisecond',
      `${base}queueSpinMicroseconds: 1001\n`,
      ['queueSpinMicroseconds: Too big: expected number to be <=1000 (it is 1001)'],
    ],
    [
      'a spin in parts',
      `${base}queueSpinMicroseconds: 0.5\n`,
      ['queueSpinMicroseconds: expected int, received number (it is 0.5)'],
    ],
    [
      'a spin with a unit',
      `${base}queueSpinMicroseconds: 50us\n`,
      ['queueSpinMicroseconds: expected number, received string (it is "50us")'],
    ],
    ['a list', '[]', ['configuration: expected object, received array']],
    ['two documents', 'a: 1\n---\nb: 2\n', ['file.yaml: holds 2 documents, not one']],
    ['nothing', '', ['configuration: expected object, received null']],
    ['broken YAML', '"vips', ['file.yaml:1:6: unexpected end of the stream within a double quoted scalar']],
  ];
  for (const [claim, text, expected] of rows) t.strictSame(faults(text), expected, claim);
});

t.test(
  'prefixes have their host bits cleared, and those of IPv4-mapped addresses are the IPv4 ones',
  async t => {
    const rows: [string, string][] = [
      ['20.0.0.77/24', '20.0.0.0/24'],
      ['2000::77/64', '2000::/64'],
      ['::ffff:a0a:a0a/128', '10.10.10.10/32'],
      ['::ffff:a0a:a00/120', '10.10.10.0/24'],
      ['::ffff:10.10.10.10/120', '10.10.10.0/24'],
      ['::ffff:1.2.3.4/96', '0.0.0.0/0'],
      ['::ffff:0:0/95', '::fffe:0:0/95'],
      ['::ffff:0:0/64', '::/64'],
      // RFC 4291, section 2.5.5.1: IPv4-compatible, which is another thing.
      ['::1.2.3.4/128', '::102:304/128'],
      ['64:ff9b::1.2.3.4/120', '64:ff9b::102:300/120'],
      ['1:2:3:4:5:6:255.255.0.1/128', '1:2:3:4:5:6:ffff:1/128'],
    ];
    for (const [written, meant] of rows) {
      const text = base.replace('["4000"]', `["4000"], sourceSubnets: ["${written}"]`);
      t.strictSame(loadConfig(text, 'f').flows[0]!.sourceSubnets.map(prefixText), [meant], written);
      t.strictSame(
        loadConfig(text.replace(/^vips: .*$/m, `vips: ["${written}"]`), 'f').vips.map(prefixText),
        [meant],
      );
    }
    for (const bad of [
      '::ffff:1.2.3.04/128',
      '::1.2.3/128',
      '::1.2.3.256/128',
      '::1.2.3.4%1/128',
      '1.2.3.4::/96',
    ])
      t.match(parsePrefix(bad), /is not an IP address/, bad);
    t.strictSame(parseHost('::1.2.3.4'), { family: 6, address: '::102:304' });
    t.equal(parseHost('::ffff:102:304'), '::ffff:102:304 is IPv4-mapped: write 1.2.3.4');
  },
);

t.test('what is legal and probably not meant is warned of', async t => {
  const gateway = 'gateways: [{name: g, protocol: static, ips: [169.254.100.150, "100:100::150"]}]';
  const rows: [string, string, string[]][] = [
    ['nothing', `${base}${gateway}`, []],
    [
      'a VIP that covers addresses of a target',
      base.replace('vips: [20.0.0.1/32,', 'vips: [20.0.0.1/32, 172.16.0.0/24, "fd00::/16",'),
      [
        'vips[1]: 172.16.0.0/24 covers 172.16.0.1 of target a/1',
        'vips[2]: fd00::/16 covers fd00::1 of target a/1',
      ],
    ],
    [
      'a VIP that covers addresses of a gateway',
      `${base.replace('vips: [20.0.0.1/32,', 'vips: [20.0.0.1/32, 169.254.100.150/32, "100:100::/119",')}${gateway}`,
      [
        'vips[1]: 169.254.100.150/32 covers 169.254.100.150 of gateway g',
        'vips[2]: 100:100::/119 covers 100:100::150 of gateway g',
      ],
    ],
    [
      'prefixes beside the addresses',
      `${base.replace('vips: [20.0.0.1/32,', 'vips: [20.0.0.1/32, 172.16.0.2/31, 169.254.100.151/32,')}${gateway}`,
      [],
    ],
    [
      'a flow whose prefix is wider than the VIPs',
      base.replace('vips: [20.0.0.1/32, "2000::1/128"], d', 'vips: [20.0.0.0/31, "2000::1/128"], d'),
      [
        'flows[0].vips: 20.0.0.0/31 is not within vips: not all of it is steered here. Add it to vips, or remove it from the flow',
      ],
    ],
    [
      'a flow whose prefix is beside the VIPs',
      base.replace('vips: [20.0.0.1/32, "2000::1/128"], d', 'vips: [20.0.0.1/32, "2000::2/128"], d'),
      [
        'flows[0].vips: 2000::2/128 is not within vips: not all of it is steered here. Add it to vips, or remove it from the flow',
      ],
    ],
    [
      'a table with fewer slots than targets',
      base.replace('maxTargets: 10', 'maxTargets: 10\n    tableSize: 9'),
      [
        'streams[0].tableSize: 9 is below maxTargets 10: some targets get nothing. Raise tableSize, or lower maxTargets',
      ],
    ],
  ];
  for (const [claim, text, expected] of rows)
    t.strictSame(configWarnings(loadConfig(text, 'f')), expected, claim);
});

t.test('aliases that expand without bound are a fault, not the end of the memory', async t => {
  const bomb = [
    'a: &a [1,1,1,1,1,1,1,1,1,1]',
    ...'bcdefgh'.split('').map((name, n) => `${name}: &${name} [${Array(10).fill(`*${'abcdefg'[n]}`)}]`),
  ].join('\n');
  t.match(faults(bomb), [/^file.yaml: its aliases expand to \d+ values/]);
  t.match(faults('vips: &a [*a]'), [/^file.yaml: its aliases expand to Infinity values|file.yaml:1:11/]);
});

t.test('two names, identifiers or addresses that are the same are faults', async t => {
  const twice = base.replace(
    '[{identifier: 1, ips: [172.16.0.1, "fd00::1"]}]',
    '[{identifier: 1, ips: [172.16.0.1, "fd00::1"]}, {identifier: 1, ips: [172.16.0.1, "fd00::2"]}]',
  );
  t.strictSame(faults(twice), [
    'streams[0].targets[1].identifier: 1 is that of targets[0] already',
    'streams[0].targets[1].ips[0]: 172.16.0.1 is that of targets[0] already',
  ]);
});

t.test('numbers at the ends of what is possible are taken', async t => {
  const flow = (more: string) => loadConfig(base.replace('priority: 1,', more), 'f').flows[0]!;
  for (const priority of [
    Number.MAX_SAFE_INTEGER,
    -Number.MAX_SAFE_INTEGER,
    2 ** 32,
    2 ** 31,
    -(2 ** 31) - 1,
  ])
    t.equal(flow(`priority: ${priority},`).priority, priority);
  t.match(loadConfig(`${base}noFlowFwmark: 0\nnoTargetsFwmark: 4294967295\n`, 'f'), {
    noFlowFwmark: 0,
    noTargetsFwmark: 4294967295,
  });
  const last = base.replace('maxTargets: 10', 'maxTargets: 10\n    fwmarkOffset: 4294967285');
  t.equal(loadConfig(last, 'f').streams[0]!.targets[0]!.fwmark, 4294967286);
});

t.test('a table beyond the cap of nfqlb has the exact largest prime', async t => {
  for (const [asked, prime] of [
    [993_997, 993_997],
    [1_000_002, 999_983],
    [1_000_003, 1_000_003],
    [1_000_032, 1_000_003],
    [1_000_033, 1_000_033],
  ]) {
    const text = base.replace('maxTargets: 10', `maxTargets: 10\n    tableSize: ${asked}`);
    t.equal(Simulator.fromConfig(loadConfig(text, 'f')).table('a').length, prime, `${asked}`);
  }
});

t.test('byte statements are read as nfqlb reads them', async t => {
  t.match(parseByteMatch('tcp[13:1] & 0x02 = 0x02'), {
    protocol: 'tcp',
    offset: 13,
    width: 1,
    mask: 2,
    value: 2,
  });
  t.match(parseByteMatch('udp[2:2]=010'), { mask: 0xffffffff, value: 8 });
  t.match(parseByteMatch('tcp[010:2]=1'), { offset: 8 });
  t.match(parseByteMatch('tcp[10:2]=1'), { offset: 10 });
  t.match(parseByteMatch('tcp[4:4]&0xffffffff=1'), { mask: 0xffffffff });
  t.match(parseByteMatch('sctp[8:4]&0x0=1'), { mask: 0xffffffff, value: 1 });
  for (const bad of [
    'tcp[20:1]=1',
    'udp[6:4]=1',
    'icmp[0:1]=8',
    'tcp[0:3]=1',
    'tcp[0:1]=256',
    'tcp[0:1]',
    'tcp[0:1]=08',
    'tcp[08:1]=1',
    'tcp[0:4]&0x100000000=1',
  ]) {
    t.type(parseByteMatch(bad), 'string', bad);
  }
});

t.test('the JSON Schema comes from the validator and names every key', async t => {
  const schema = jsonSchema() as {
    properties: Record<string, unknown>;
    required: string[];
    additionalProperties: boolean;
  };
  t.strictSame(schema.required, ['vips', 'streams', 'flows']);
  t.equal(schema.additionalProperties, false);
  t.ok(['queues', 'gateways', 'hashMode', 'noTargetsFwmark'].every(key => key in schema.properties));
});

t.test('gateways: BGP with its defaults, BFD, and what they lack', async t => {
  const gateways = (text: string, more = '') => `${base}${more}\ngateways: ${text}\n`;
  const bgp = '{name: g, protocol: bgp, ips: [169.254.100.150], localAsn: 64512, remoteAsn: 4200000000';
  t.strictSame(loadConfig(gateways(`[${bgp}}]`), 'f').gateways[0], {
    name: 'g',
    protocol: 'bgp',
    ips: [{ family: 4, address: '169.254.100.150' }],
    bfd: null,
    localAsn: 64512,
    remoteAsn: 4200000000,
    localPort: 179,
    remotePort: 179,
    holdTimeSeconds: 90,
    passwordFile: null,
  });
  const external = 'interfaces: {external: eth0}';
  t.strictSame(
    loadConfig(gateways(`[${bgp}, holdTime: 9s, bfd: {minRx: 100ms, multiplier: 5}}]`, external), 'f')
      .gateways[0],
    {
      name: 'g',
      protocol: 'bgp',
      ips: [{ family: 4, address: '169.254.100.150' }],
      bfd: { minRxMs: 100, minTxMs: 300, multiplier: 5 },
      localAsn: 64512,
      remoteAsn: 4200000000,
      localPort: 179,
      remotePort: 179,
      holdTimeSeconds: 9,
      passwordFile: null,
    },
  );
  const cases: [string, string][] = [
    [`[${bgp}, bfd: {}}]`, 'gateways[0].bfd: needs interfaces.external, the interface that BFD runs on'],
    [`[${bgp}, holdTime: 2s}]`, 'gateways[0].holdTime: 2s is not within 3s to 65535s'],
    [`[${bgp}, holdTime: 3500ms}]`, 'gateways[0].holdTime: 3500ms is no whole number of seconds'],
    [
      `[${bgp}, holdTime: "9"}]`,
      'gateways[0].holdTime: 9 is not a duration: write a number and ms, s or m, for example 300ms',
    ],
    [
      '[{name: g, protocol: bgp, ips: [10.0.0.1], localAsn: 1}]',
      'gateways[0].remoteAsn: required, but missing',
    ],
    [
      '[{name: g, protocol: ospf, ips: [10.0.0.1]}]',
      'gateways[0].protocol: protocol is "static" or "bgp" (it is "ospf")',
    ],
    [
      '[{name: g, protocol: static, ips: ["fe80::1"]}]',
      'gateways[0].ips[0]: fe80::1 is link-local: needs interfaces.external',
    ],
    ['[{name: g, ips: [10.0.0.1]}]', 'gateways[0].protocol: protocol is "static" or "bgp"'],
    ['[{name: g, protocol: static, ips: [10.0.0.1], localAsn: 1}]', 'gateways[0].localAsn: unknown key'],
    [
      '[{name: g, protocol: static, ips: [10.0.0.1]}, {name: h, protocol: static, ips: [10.0.0.1]}]',
      'gateways[1].ips[0]: 10.0.0.1 is that of gateways[0] already',
    ],
  ];
  for (const [text, fault] of cases) t.strictSame(faults(gateways(text)), [fault]);
  const two = (one: string, other: string) =>
    gateways(
      `[{name: g, protocol: static, ips: [10.0.0.1], bfd: ${one}}, {name: h, protocol: static, ips: [10.0.0.2], bfd: ${other}}]`,
      external,
    );
  t.strictSame(faults(two('{}', '{minRx: 300ms}')), []);
  t.strictSame(faults(two('{}', '{minRx: 100ms}')), [
    'gateways[1].bfd: static gateways share one setting, and gateways[0] has another',
  ]);
  t.strictSame(faults(`${base}\nrouterId: 0.0.0.0\n`), [
    'routerId: 0.0.0.0 is no router id: write a dotted quad, not 0.0.0.0',
  ]);
});

t.test('port NATs that would meet are refused', async t => {
  const nats = (text: string) => faults(`${base}\nportNats: ${text}\n`);
  const nat = (port: number, targetPort: number, more = 'protocol: tcp, vips: [20.0.0.1/32]') =>
    `{port: ${port}, targetPort: ${targetPort}, ${more}}`;
  t.strictSame(
    nats(`[${nat(80, 8080)}, ${nat(90, 9090)}, ${nat(80, 8080, 'protocol: udp, vips: [20.0.0.1/32]')}]`),
    [],
  );
  t.strictSame(nats(`[${nat(80, 8080)}, ${nat(80, 8081, 'protocol: tcp, vips: ["2000::1/128"]')}]`), []);
  const cases: [string, string][] = [
    [`[${nat(80, 80)}]`, 'portNats[0].targetPort: 80 is the port itself'],
    [
      `[${nat(80, 8080, 'protocol: tcp, vips: [20.0.0.2/32]')}]`,
      'portNats[0].vips[0]: 20.0.0.2/32 is not within vips',
    ],
    [
      `[${nat(80, 8080)}, ${nat(80, 9090)}]`,
      'portNats[1]: tcp port 80 of these VIPs is translated already by portNats[0]',
    ],
    [
      `[${nat(80, 8080)}, ${nat(90, 8080)}]`,
      'portNats[1]: tcp target port 8080 of these VIPs is that of portNats[0]',
    ],
    [
      `[${nat(80, 8080)}, ${nat(8080, 9090)}]`,
      'portNats[1]: tcp port 8080 of these VIPs is the target port of portNats[0]',
    ],
    [
      `[${nat(80, 8080)}, ${nat(70, 80)}]`,
      'portNats[1]: tcp target port 80 of these VIPs is the port of portNats[0]',
    ],
    [`[${nat(80, 8080, 'protocol: tcp, vips: []')}]`, 'portNats[0].vips: must not be empty'],
  ];
  for (const [text, fault] of cases) t.strictSame(nats(text), [fault]);
});

t.test('health checks', async t => {
  const check = (text: string) => base.replace('maxTargets: 10', `maxTargets: 10\n    healthCheck: ${text}`);
  const of = (text: string) => loadConfig(check(text), 'f').streams[0]!.healthCheck;
  t.strictSame(of('{type: icmp}'), {
    type: 'icmp',
    port: null,
    path: null,
    intervalMs: 1000,
    timeoutMs: 1000,
    rise: 2,
    fall: 3,
  });
  t.match(of('{type: http, port: 80, path: /up, interval: 500ms, timeout: 200ms}'), {
    port: 80,
    path: '/up',
    intervalMs: 500,
    timeoutMs: 200,
  });
  const cases: [string, string][] = [
    ['{type: tcp}', 'streams[0].healthCheck.port: required for tcp, but missing'],
    ['{type: icmp, port: 1}', 'streams[0].healthCheck.port: icmp has no ports'],
    ['{type: tcp, port: 1, path: /}', 'streams[0].healthCheck.path: only with type http'],
    ['{type: icmp, interval: 500ms}', 'streams[0].healthCheck.timeout: 1s is above interval 500ms'],
  ];
  for (const [text, fault] of cases) t.strictSame(faults(check(text)), [fault]);
});

t.test('the address of metrics is one to listen on, or a fault', async t => {
  const withMetrics = (metrics: string) => `${base}metrics: ${metrics}\n`;
  t.equal(loadConfig(base, 'f').metrics, null, 'off unless configured');
  const rows: [string, ListenAddress][] = [
    ['"127.0.0.1:9273"', { host: { family: 4, address: '127.0.0.1' }, port: 9273 }],
    ['"[::1]:9273"', { host: { family: 6, address: '::1' }, port: 9273 }],
    ['"[0:0::1]:1"', { host: { family: 6, address: '::1' }, port: 1 }],
    ['":9273"', { host: null, port: 9273 }],
    ['"0.0.0.0:65535"', { host: { family: 4, address: '0.0.0.0' }, port: 65535 }],
  ];
  for (const [address, metrics] of rows)
    t.strictSame(loadConfig(withMetrics(`{address: ${address}}`), 'f').metrics, metrics, address);
  const write = 'write "127.0.0.1:9273", "[::1]:9273", or ":9273" for all addresses';
  const wrong: [string, string][] = [
    ['{address: "9273"}', `metrics.address: 9273 is no address to listen on: ${write}`],
    ['{address: "::1:9273"}', `metrics.address: ::1:9273 is no address to listen on: ${write}`],
    ['{address: "[127.0.0.1]:1"}', `metrics.address: [127.0.0.1]:1 is no address to listen on: ${write}`],
    [
      '{address: "localhost:9273"}',
      `metrics.address: localhost:9273 is no address to listen on: ${write}; localhost is not an IP address`,
    ],
    [
      '{address: "010.0.0.1:9273"}',
      `metrics.address: 010.0.0.1:9273 is no address to listen on: ${write}; 010.0.0.1 is not an IP address`,
    ],
    ['{address: ":0"}', 'metrics.address: :0 has no port from 1 to 65535'],
    ['{address: "127.0.0.1:65536"}', 'metrics.address: 127.0.0.1:65536 has no port from 1 to 65535'],
    ['{}', 'metrics.address: required, but missing'],
    ['{address: ":1", port: 2}', 'metrics.port: unknown key'],
  ];
  for (const [metrics, fault] of wrong) t.strictSame(faults(withMetrics(metrics)), [fault], metrics);
});

t.test('offsets that are not written fill the lowest gaps between those that are', async t => {
  const streams = [
    '{name: a, maxTargets: 10}',
    '{name: b, maxTargets: 10, fwmarkOffset: 5015}',
    '{name: c, maxTargets: 5}',
    '{name: d, maxTargets: 6}',
    '{name: e, maxTargets: 100, fwmarkOffset: 5100}',
    '{name: f, maxTargets: 75}',
    '{name: g, maxTargets: 69}',
  ];
  const text = `vips: [20.0.0.1/32]\nstreams: [${streams.join(', ')}]\nflows: []\n`;
  t.same(
    loadConfig(text, 'f').streams.map(({ fwmarkOffset }) => fwmarkOffset),
    [5000, 5015, 5010, 5025, 5100, 5200, 5031],
  );
});

t.test('a VIP of a flow is within vips if one of them holds all of it, whatever their order', async t => {
  const vips = ['20.0.2.0/24', '20.0.0.0/31', '20.0.0.0/24', '"2000::/64"', '20.0.0.7/32'];
  const own = [
    '20.0.0.9/32',
    '20.0.2.0/23',
    '20.0.2.255/32',
    '20.0.1.0/32',
    '"2000::1:0/112"',
    '"2000::/63"',
  ];
  const text = `vips: [${vips.join(', ')}]\nstreams: [{name: a}]\nflows: [{name: f, stream: a, priority: 1, vips: [${own.join(', ')}]}]\n`;
  t.same(
    configWarnings(loadConfig(text, 'f')).map(line => line.split(' ')[1]),
    ['20.0.2.0/23', '20.0.1.0/32', '2000::/63'],
  );
});

t.test('many faults are found in a moment, the first hundred are listed, and the others counted', async t => {
  const many = 1_000_000;
  const rest = 'streams: []\nflows: []\n';
  const found = {
    text: faults(`${rest}vips: [${'x,'.repeat(many)}x]`),
    numbers: faults(`${rest}vips: [${'1,'.repeat(many)}1]`),
    late: faults(`${rest}vips: [${'20.0.0.1/32,'.repeat(100_000)}${'x,'.repeat(many)}x]`),
    objects: faults(`vips: [20.0.0.1/32]\nstreams: []\nflows: [${'{},'.repeat(many)}x]`),
    keys: faults(
      `${rest}vips: [20.0.0.1/32]\n${Array.from({ length: 100_000 }, (_, key) => `k${key}: 1`).join('\n')}`,
    ),
    crossing: faults(
      `vips: [20.0.0.1/32]\nstreams: []\nflows: [${'{name: a, stream: b, priority: 1, vips: [20.0.0.1/32]},'.repeat(50_000)}]`,
    ),
  };
  for (const [kind, lines] of Object.entries(found)) {
    t.equal(lines.length, 101, kind);
    t.ok(lines.join('').length < 10_000, kind);
  }
  t.equal(found.text[99], 'vips[99]: x is not an IP address');
  t.equal(found.text[100], 'and 999901 more entries, not checked');
  t.equal(found.late[0], 'vips[100000]: x is not an IP address', 'an entry has its own number');
  t.equal(found.objects[100], 'and 999976 more entries, not checked');
  t.equal(found.keys[100], 'and 99900 more faults');
  t.equal(found.crossing[100], 'and 99899 more faults');
});

t.test(
  'what is written a hundred thousand times is checked in a moment where it is valid, or refused',
  async t => {
    const rest = 'vips: [20.0.0.1/32]\nflows: []\n';
    const streams = (count: number) =>
      Array.from({ length: count }, (_, index) => `{name: s${index}, maxTargets: ${1 + (index % 9)}}`).join();
    const { streams: loaded } = loadConfig(`${rest}streams: [${streams(16_384)}]`, 'file.yaml');
    const offsets = loaded.map(({ fwmarkOffset }) => fwmarkOffset);
    t.equal(new Set(offsets).size, 16_384);
    t.strictSame(faults(`${rest}streams: [${streams(16_385)}]`), [
      'streams: 16385 entries, and at most 16384 are possible',
    ]);
    const nat = (index: number) =>
      `{port: ${index + 1}, targetPort: ${index + 10_001}, protocol: tcp, vips: [20.0.0.1/32]}`;
    const nats = (count: number) =>
      `${rest}streams: []\nportNats: [${Array.from({ length: count }, (_, index) => nat(index)).join()}]`;
    t.strictSame(faults(nats(4096)), []);
    t.strictSame(faults(nats(4097)), ['portNats: 4097 entries, and at most 4096 are possible']);
    const covering = `vips: [${'0.0.0.0/0,'.repeat(100_000)}0.0.0.0/0]\nstreams: [{name: s, targets: [{identifier: 1, ips: [10.0.0.1]}]}]\nflows: []`;
    t.ok(configWarnings(loadConfig(covering, 'file.yaml')).length < 200);
  },
);

t.test('no message quotes much of what was written', async t => {
  const long = 'x'.repeat(1_000_000);
  const one = '1'.repeat(1_000_000);
  const documents = [
    `${long}: 1`,
    `? "\\e${long}"\n: 1`,
    base.replace('20.0.0.1/32', long),
    base.replace('20.0.0.1/32', `${one}/32`),
    base.replace('20.0.0.1/32', `20.0.0.1/${one}`),
    base.replace('name: f', `name: ${long}`),
    base.replace('stream: a', `stream: ${long}`),
    base.replace('tcp', long),
    base.replace('"4000"', one),
    base.replace('"4000"', `"${one}"`),
    base.replace('172.16.0.1', one),
    base.replace('maxTargets: 10', `maxTargets: ${long}`),
    `${base}queues: ${long}`,
    `${base}routerId: ${long}`,
    `${base}fragments: ${long}`,
    `${base}shutdownDelay: ${long}`,
    `${base}metrics: {address: ${long}}`,
    `${base}interfaces: {external: ${long}, internal: [${long}]}`,
    `${base}gateways: [{name: g, ips: [${long}], protocol: ${long}}]`,
    `${base}x: !<tag:${long}> 1`,
    `${base}x: *${long}`,
    `%${long}`,
  ];
  for (const text of documents) {
    const lines = faults(text);
    t.ok(lines.length > 0, text.slice(0, 40));
    for (const line of lines) t.notMatch(line, /x{201}|1{201}/, line.slice(0, 120));
    t.ok(lines.join('').length < 2000, `${lines.join('').length}: ${text.slice(0, 40)}`);
  }
});

t.test('what is nested without end is a fault and no error of the program', async t => {
  for (const text of ['['.repeat(1_000_000), '{a: '.repeat(1_000_000), `${'- '.repeat(1_000_000)}1`])
    t.match(faults(text), [/^file.yaml:1:\d+: nesting exceeded maxDepth/]);
  t.match(faults(`${base}__proto__: {vips: []}\nconstructor: 1`), [
    /^__proto__: unknown key/,
    /^constructor: unknown key/,
  ]);
});

t.test('a name of an interface has 15 bytes and nothing that steers a terminal', async t => {
  for (const name of [
    'e\\0',
    'e\\e[2J',
    'e\\x7f',
    'e\\x9b',
    'e\\u202e',
    'ä'.repeat(8),
    'e'.repeat(16),
    '',
    'a\\nb',
  ]) {
    const [fault, ...others] = faults(`${base}interfaces: {external: "${name}"}`);
    t.match(fault, /^interfaces.external: an interface name has 1 to 15 bytes/, JSON.stringify(name));
    t.strictSame(others, []);
    t.match(faults(`${base}interfaces: {internal: ["${name}"]}`), [
      /^interfaces.internal\[0\]: an interface pattern/,
    ]);
    t.equal(faults(`${base}interfaces: {internal: ["${name}*"]}`).length, 1);
  }
  t.strictSame(faults(`${base}interfaces: {external: "${'ä'.repeat(7)}e", internal: ["conduit-a-*"]}`), []);
  const gateway = (file: string) =>
    `${base}gateways: [{name: g, ips: [169.254.100.150], protocol: bgp, localAsn: 1, remoteAsn: 2, passwordFile: "${file}"}]`;
  t.strictSame(faults(gateway('/etc/password')), []);
  for (const file of ['/etc/\\0', '/etc/\\e[2J', 'a'.repeat(4096)])
    t.match(faults(gateway(file)), [
      /^gateways\[0\].passwordFile: a path has at most 4095 bytes and no control character/,
    ]);
});
