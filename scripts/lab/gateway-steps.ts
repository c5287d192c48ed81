/** The steps of the demonstration in which the gateway learns of the VIPs, and forgets them. */
import type { Family } from '../../host/types/config.js';
import type { KernelWatch, WatchedEvent } from './kernel-watch.js';
import { EXTERNAL, FAMILIES, FAMILY_NAMES, type Pair, VIP } from './plan.js';
import { indented } from './report.js';
import type { Scene } from './steps.js';
import type { ByFamily } from './traffic-steps.js';
import { waitFor } from './wait.js';

const SESSION_MS = 20_000;
/** What `ip` prints behind the metric. */
const ROUTE_ENDS = { 4: ' ', 6: ' pref medium' } as const;

export interface GatewayFigures {
  /** From the daemon's readiness until each side's kernel leads to the other in both families. */
  readonly announcedMs: number;
  /** The gateway's routes to the VIPs. */
  readonly routes: ByFamily<string>;
  /** Table 4096 of the load balancer. */
  readonly egress: ByFamily<string>;
}

/** Wait for the gateway to know the VIPs, and show both ends of the sessions. */
export async function announced(scene: Scene): Promise<GatewayFigures> {
  const { daemon, gateway, expectations, say } = scene;
  const start = performance.now();
  const { routes, tables } = await gateway.untilExchanged(VIP);
  const announcedMs = Math.round(performance.now() - start);
  const sessions = await waitFor('the daemon to tell of its sessions', SESSION_MS, async () => {
    const found = (await daemon.status()).gateways.flatMap(each => each.sessions);
    return found.length === FAMILIES.length && found.every(each => each.up) && found;
  });
  const words = sessions.map(({ address, info, bfd }) => `${address} ${info}, BFD ${bfd}`).join('; ');
  expectations.expect(
    'the BGP sessions of both families are up, and BFD watches them',
    sessions.every(each => each.up && each.bfd === 'up'),
    words,
  );
  const { vips } = await daemon.status();
  expectations.expect(
    'the VIPs of both families are announced',
    vips.length === FAMILIES.length && vips.every(vip => vip.announced),
    `${vips.map(vip => vip.prefix).join(', ')} ${announcedMs} ms after the daemon was ready`,
  );
  for (const family of FAMILIES) {
    const name = FAMILY_NAMES[family];
    const wanted = `default via ${EXTERNAL.gateway[family]} dev ${EXTERNAL.name} proto bird metric 32${ROUTE_ENDS[family]}\n`;
    expectations.same(`${name} table 4096 is the reference's, byte for byte`, tables[family], wanted);
    say(
      `  the gateway's way to ${VIP[family]}: ip -${family} route show ${VIP[family]}\n${indented(routes[family])}`,
    );
  }
  say(
    `  BIRD of the gateway: birdc show protocols\n${indented(await gateway.bird.ask('show', 'protocols'))}`,
  );
  return { announcedMs, routes: byFamily(routes), egress: byFamily(tables) };
}

const byFamily = (pair: Pair): ByFamily<string> => ({ ipv4: pair[4], ipv6: pair[6] });

/** The first event that took a route to a VIP of the family away; null: there was none. */
function withdrawal(watch: KernelWatch, family: Family): WatchedEvent | null {
  return watch.events().find(({ text }) => text.startsWith(`Deleted ${VIP[family]} `)) ?? null;
}

/** The gateway is told to send elsewhere while everything is still forwarded. */
export async function withdrawnFirst(
  { expectations }: Scene,
  gateway: KernelWatch,
  loadBalancer: KernelWatch,
): Promise<{ withdrawnBeforeMs: number | null }> {
  const withdrawals = FAMILIES.map(family => withdrawal(gateway, family));
  const taken = loadBalancer.events().find(({ text }) => /^Deleted \d+:.* fwmark /.test(text)) ?? null;
  const last = withdrawals.some(each => each === null)
    ? null
    : Math.max(...withdrawals.map(each => each!.at));
  const ahead = taken === null || last === null ? null : Math.round(taken.at - last);
  expectations.expect(
    'the gateway lost the VIPs of both families before the first rule went',
    ahead !== null && ahead > 0,
    ahead === null
      ? `withdrawals ${withdrawals.map(each => each?.text)}, rule ${taken?.text}`
      : `${ahead} ms before`,
  );
  return { withdrawnBeforeMs: ahead };
}
