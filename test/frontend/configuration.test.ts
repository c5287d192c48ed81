import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { checkConfiguration } from '../../host/frontend/bird.js';
import { renderConfiguration } from '../../host/frontend/configuration.js';
import type { WantedFrontend } from '../../host/frontend/wanted.js';
import type { BgpGateway, Gateway } from '../../host/types/config.js';

const RENDERED = fileURLToPath(new URL('../../../test/frontend/rendered/', import.meta.url));
const NONE: ReadonlyMap<string, string> = new Map();
const IPV4 = { family: 4, address: '169.254.100.150' } as const;
const IPV6 = { family: 6, address: '100:100::150' } as const;
const LINK_LOCAL = { family: 6, address: 'fe80::150' } as const;
const BFD = { minRxMs: 300, minTxMs: 100, multiplier: 3 };

const STATIC: Gateway = { name: 'gateway-s', protocol: 'static', ips: [IPV4, IPV6], bfd: null };
const BGP: BgpGateway = {
  name: 'gateway-a-1',
  protocol: 'bgp',
  ips: [IPV4, IPV6],
  bfd: null,
  localAsn: 8103,
  remoteAsn: 4_294_967_295,
  localPort: 10179,
  remotePort: 10180,
  holdTimeSeconds: 24,
  passwordFile: null,
};

function wanted(more: Partial<WantedFrontend>): WantedFrontend {
  return {
    routerId: '10.0.0.1',
    external: 'ext-vlan0',
    gateways: [],
    ecmp: true,
    announced: [],
    unreachable: new Map(),
    nextHop6: null,
    ...more,
  };
}

const other = { ...IPV4, address: '169.254.100.151' };
const CASES: readonly { name: string; wanted: WantedFrontend; passwords?: ReadonlyMap<string, string> }[] = [
  { name: 'static', wanted: wanted({ gateways: [STATIC] }) },
  {
    name: 'static-unreachable',
    wanted: wanted({
      gateways: [STATIC, { ...STATIC, name: 'dead', ips: [other] }],
      unreachable: new Map([[other.address, 'no answer']]),
    }),
  },
  { name: 'static-bfd', wanted: wanted({ gateways: [{ ...STATIC, bfd: BFD }], ecmp: false }) },
  {
    name: 'bgp',
    wanted: wanted({
      gateways: [{ ...BGP, bfd: BFD }],
      announced: [
        { family: 4, address: '20.0.0.0', length: 28 },
        { family: 6, address: '2000::1', length: 128 },
      ],
    }),
    passwords: new Map([['gateway-a-1', 'pass # word; }']]),
  },
  {
    name: 'several',
    wanted: wanted({
      ecmp: false,
      gateways: [
        { ...BGP, ips: [IPV4], bfd: BFD },
        { ...BGP, name: 'gateway-a-2', ips: [other], bfd: { ...BFD, multiplier: 5 } },
      ],
    }),
  },
  {
    name: 'mixed',
    wanted: wanted({
      gateways: [
        { ...BGP, ips: [IPV4] },
        { ...STATIC, ips: [other] },
      ],
      external: null,
    }),
  },
  {
    name: 'link-local',
    wanted: wanted({
      gateways: [
        { ...BGP, ips: [LINK_LOCAL], bfd: BFD },
        { ...STATIC, ips: [{ family: 6, address: 'fe80::151' }] },
      ],
      announced: [{ family: 6, address: '2000::1', length: 128 }],
      nextHop6: '100:100::149',
    }),
  },
];

for (const { name, wanted, passwords = NONE } of CASES) {
  t.test(`${name}: the text is as in rendered/${name}.conf, and BIRD takes it`, async t => {
    const text = renderConfiguration(wanted, passwords);
    t.equal(text, readFileSync(join(RENDERED, `${name}.conf`), 'utf8'));
    const file = join(t.testdir({}), 'bird.conf');
    writeFileSync(file, text);
    await checkConfiguration(file);
  });
}

t.test('a gateway that comes or goes leaves the lines of the others, so that their sessions stay', t => {
  const second = { ...BGP, name: 'gateway-a-2', ips: [other] };
  const lines = (gateways: readonly Gateway[], ecmp: boolean) =>
    renderConfiguration(wanted({ gateways, ecmp }), NONE).trimEnd().split('\n\n');
  const both = lines([{ ...BGP, ips: [IPV4] }, second], true);
  t.strictSame(
    lines([second], true).filter(section => !both.includes(section)),
    [],
  );
  t.strictSame(
    lines([{ ...BGP, ips: [IPV4] }], false).filter(
      section => !lines([{ ...BGP, ips: [IPV4] }, second], false).includes(section),
    ),
    [],
  );
  t.end();
});

t.test('what BIRD has no words for is a fault that names the gateways', t => {
  const refuses = (more: Partial<WantedFrontend>, message: string) =>
    t.throws(() => renderConfiguration(wanted(more), NONE), { code: 'CONFIG_INVALID', message });
  const gateways = [{ ...STATIC, ips: [LINK_LOCAL] }];
  refuses(
    { gateways, external: null },
    'gateway gateway-s: fe80::150 is link-local: it needs interfaces.external',
  );
  refuses(
    { gateways, external: 'ext{0' },
    'gateway gateway-s: fe80::150 is link-local, and BIRD has no words for an interface named ext{0',
  );
  refuses(
    {
      gateways: [
        { ...STATIC, bfd: BFD },
        { ...STATIC, name: 'gateway-t', ips: [other], bfd: { ...BFD, multiplier: 4 } },
      ],
    },
    'gateway gateway-t: static gateways share one setting of BFD, and gateway gateway-s has another',
  );
  t.end();
});
