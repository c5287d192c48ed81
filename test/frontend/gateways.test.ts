import type { Test } from 'tap';
import type { WantedFrontend } from '../../host/frontend/wanted.js';
import type { Bfd, Gateway } from '../../host/types/config.js';
import type { RouterPlan } from '../../scripts/lab/bird.js';
import { insideNamespace, shell } from '../kernel/namespace.js';
import {
  ASN,
  allUp,
  bgpGateway,
  egressTable,
  endNetwork,
  HERE,
  hostsOf,
  makeNetwork,
  openFrontend,
  routerPlan,
  startRouter,
  until,
  VIP4,
  VIP6,
  wantedFrontend,
} from './network.js';

const BFD: Bfd = { minRxMs: 100, minTxMs: 100, multiplier: 3 };
const DROP_BFD = 'table inet cut { chain out { type filter hook output priority 0; udp dport 3784 drop; }; }';
const only = (router: number) =>
  `default via 169.254.100.${150 + router} dev ext-vlan0 proto bird metric 32 \n`;

if (insideNamespace(import.meta.url)) {
  const { default: t } = await import('tap');
  t.setTimeout(300_000);
  makeNetwork(2);
  t.teardown(endNetwork);

  t.test('routes leave a gateway whose BFD is silent, though BGP passes, and come back with it', async t => {
    const gateways = [0, 1].map(router => bgpGateway(router, { bfd: BFD }));
    const { frontend, routers } = await start(t, [0, 1], { bfd: BFD }, { gateways, ecmp: false });
    await until('the first gateway leads', () => allUp(frontend.state()) && egressTable(4) === only(0));
    const knowing = async () => (await Promise.all(routers.map(router => router.knows(VIP4)))).join();
    await until('both know the VIP', async () => (await knowing()) === 'true,true');
    shell(`ip netns exec router0 nft '${DROP_BFD}'`);
    t.comment(`moved after ${await until('the other one leads', () => egressTable(4) === only(1))} ms`);
    await until('it is told', () =>
      frontend
        .state()
        .sessions.slice(0, 2)
        .every(({ up, bfd }) => !up && bfd === 'down'),
    );
    t.comment(
      `BGP is back after ${await until('BGP is back', () => frontend.state().sessions[0]!.info === 'Established')} ms`,
    );
    t.match(frontend.state().sessions[0], { up: false, bfd: 'down' }, 'but BFD is not');
    t.equal(egressTable(4), only(1), 'and so the route is not');
    t.equal(
      await knowing(),
      'false,true',
      'nor is the VIP announced: answers could not leave by this gateway',
    );
    t.match(egressTable(6), /^default via 100:100::151 dev ext-vlan0 proto bird metric 32 pref medium\n$/);
    shell('ip netns exec router0 nft delete table inet cut');
    t.comment(
      `back after ${await until('the first leads again', () => allUp(frontend.state()) && egressTable(4) === only(0))} ms`,
    );
    await until('it knows the VIP again', async () => (await knowing()) === 'true,true');
  });

  t.test('gateways may differ in BFD', async t => {
    const slow = { minRxMs: 200, minTxMs: 250, multiplier: 5 };
    const gateways = [bgpGateway(0, { bfd: BFD }), bgpGateway(1, { bfd: slow })];
    const { frontend, files } = await start(t, [0, 1], { bfd: BFD }, { gateways });
    await until('all are up', () => allUp(frontend.state()));
    // Until both sides have agreed, a session that is up already has the slow times that it began with.
    for (const times of [
      /^169\.254\.100\.150 .* 0\.100 +0\.300$/m,
      /^169\.254\.100\.151 .* 0\.250 +0\.600$/m,
    ])
      await until(`${times}`, () => times.test(shell(`birdc -s ${files}/bird.ctl show bfd sessions`)));
  });

  t.test('with ECMP both gateways lead, without the first that is up', async t => {
    const gateways = [bgpGateway(0), bgpGateway(1)];
    const { frontend, routers } = await start(t, [0, 1], {}, { gateways });
    const nexthop = (router: number) => `\tnexthop via 169.254.100.${150 + router} dev ext-vlan0 weight 1 \n`;
    const shared = `default proto bird metric 32 \n${nexthop(0)}${nexthop(1)}`;
    await until('both lead', () => egressTable(4) === shared);
    await until('in both families', () => egressTable(6).split('nexthop via 100:100::15').length === 3);
    await until('all are up', () => allUp(frontend.state()));
    const before = frontend.state();
    await frontend.set(wantedFrontend({ gateways, ecmp: false }));
    await until('the first leads', () => egressTable(4) === only(0));
    t.strictSame(frontend.state(), before, 'no session was dropped');
    await routers[0]!.stop('SIGKILL');
    t.comment(`moved after ${await until('the second leads', () => egressTable(4) === only(1))} ms`);
    await frontend.set(wantedFrontend({ gateways: [gateways[1]!], ecmp: false }));
    await until('one gateway is left', () => frontend.state().sessions.length === 2);
    t.equal(frontend.state().sessions[0]!.since, before.sessions[2]!.since, 'its session is the former one');
  });

  t.test('a static gateway leads as long as its link and BFD are up', async t => {
    const gateway: Gateway = { name: 's', protocol: 'static', ips: hostsOf(0), bfd: null };
    // A router that tries to speak BGP asks for BFD as long as it tries, and would answer ours.
    const { frontend, routers } = await start(t, [0], { bgp: false }, { gateways: [gateway] });
    await until('it leads', () => egressTable(4) === only(0) && allUp(frontend.state()));
    shell('ip -n switch link set here down');
    await until(
      'its link is down',
      () => egressTable(4) === '' && !frontend.state().sessions.some(({ up }) => up),
    );
    shell('ip -n switch link set here up');
    await until('its link is up', () => egressTable(4) === only(0) && allUp(frontend.state()));
    await frontend.set(wantedFrontend({ gateways: [{ ...gateway, bfd: BFD }] }));
    await until('no BFD, no route', () => egressTable(4) === '');
    await until('it is told', () => frontend.state().sessions[0]!.bfd === 'down');
    t.match(frontend.state().sessions[0], { up: false, info: 'No route: its link or BFD is down' });
    await routers[0]!.reconfigure(routerPlan(0, { bfd: BFD, bgp: false }));
    await until('BFD is up', () => egressTable(4) === only(0) && allUp(frontend.state()));
    shell(`ip netns exec router0 nft '${DROP_BFD}'`);
    t.comment(`gone after ${await until('BFD is silent', () => egressTable(4) === '')} ms`);
    shell('ip netns exec router0 nft delete table inet cut');
  });

  t.test('a router may take the session for one of several hops', async t => {
    const { frontend, routers } = await start(t, [0], { multihop: true }, {});
    await until('all are up', () => allUp(frontend.state()) && egressTable(4) === only(0));
    await until('the VIP is known', () => routers[0]!.knows(VIP4));
  });

  for (const [name, asn] of [
    ['eBGP', ASN.router],
    ['iBGP', ASN.here],
  ] as const) {
    t.test(`${name} works, with ports of one's own and link-local addresses`, async t => {
      const address = (where: string) =>
        /fe80:\S+(?=\/64)/.exec(shell(`ip ${where} -6 addr show dev ext-vlan0 scope link`))![0];
      await until(
        'addresses are not tentative',
        () => !/tentative/.test(shell('ip -6 addr; ip -n router0 -6 addr')),
      );
      const ips = [...hostsOf(0).slice(0, 1), { family: 6, address: address('-n router0') } as const];
      const neighbours = [
        { family: 4, address: '169.254.100.1', asn: ASN.here },
        { family: 6, address: address(''), asn: ASN.here },
      ] as const;
      const gateways = [
        bgpGateway(0, { ips, bfd: BFD, localPort: 10179, remotePort: 10180, remoteAsn: asn }),
      ];
      const plan = { asn, neighbours, port: 10180, neighbourPort: 10179, bfd: BFD };
      const { frontend, routers } = await start(t, [0], plan, { gateways });
      await until('all are up', () => allUp(frontend.state()));
      await until('default routes', () => egressTable(4) !== '' && egressTable(6) !== '');
      t.equal(
        egressTable(6),
        `default via ${ips[1]!.address} dev ext-vlan0 proto bird metric 32 pref medium\n`,
      );
      await until('VIPs', async () => (await routers[0]!.knows(VIP4)) && (await routers[0]!.knows(VIP6)));
      const route = await routers[0]!.ask('show', 'route', `${VIP6.address}/128`, 'all');
      t.match(route, `BGP.next_hop: ${HERE[6]} ${address('')}\n`, 'a next hop that any router can use');
      t.match(route, `via ${HERE[6]} on ext-vlan0`);
      await frontend.set(wantedFrontend({ gateways, nextHop6: null }));
      await until('withdrawn', async () => !(await routers[0]!.knows(VIP6)));
      t.ok(await routers[0]!.knows(VIP4), 'the other family needs no such address');
      await until('it is warned of', () => frontend.state().warnings.length === 1);
      t.match(
        frontend.state().warnings[0],
        /fe80:\S+ is link-local, and ext-vlan0 has no global IPv6 address/,
      );
      await frontend.setReach({ unreachable: new Map(), nextHop6: HERE[6] });
      await until('announced again', () => routers[0]!.knows(VIP6));
      t.ok(allUp(frontend.state()), 'no session was dropped');
    });
  }
}

async function start(
  t: Test,
  routers: readonly number[],
  plan: Partial<RouterPlan>,
  wanted: Partial<WantedFrontend>,
) {
  const birds = await Promise.all(routers.map(router => startRouter(router, plan)));
  const opened = openFrontend();
  t.teardown(async () => {
    if (!t.passing())
      t.comment(JSON.stringify(opened.frontend.state(), null, 1), egressTable(4), egressTable(6));
    await opened.frontend.stop();
    await Promise.all(birds.map(bird => bird.stop()));
    if (!t.passing()) t.comment(opened.log.lines.join('\n'));
  });
  await opened.frontend.set(wantedFrontend(wanted));
  return { routers: birds, ...opened };
}
