/**
 * The kernel's settings that the packet path needs, written where they differ and left on exit: another program may rely
 * on them by then.
 */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { onFile } from '../programs/file.js';
import { ALL_REPAIRS, NO_REPAIRS, type RepairGate } from './repairs.js';

const IPV4: readonly (readonly [path: string, wanted: string])[] = [
  ['net/ipv4/ip_forward', '1'],
  // Egress over several gateways by ports too, so that a connection keeps its gateway.
  ['net/ipv4/fib_multipath_hash_policy', '1'],
  // A gateway whose neighbour entry has failed gets no packet. IPv6 does so without a setting (rt6_check_neigh).
  ['net/ipv4/fib_multipath_use_neigh', '1'],
  // Errors that this host makes for a client bear the mark of the packet that caused them.
  ['net/ipv4/fwmark_reflect', '1'],
];
const IPV6: readonly (readonly [path: string, wanted: string])[] = [
  ['net/ipv6/conf/all/forwarding', '1'],
  ['net/ipv6/fib_multipath_hash_policy', '1'],
  ['net/ipv6/fwmark_reflect', '1'],
];

/** Of every interface. */
const IPV4_LINKS: readonly (readonly [name: string, wanted: string])[] = [
  // The kernel asks the interface that a packet came in by; `ip_forward` is what they begin with.
  ['forwarding', '1'],
  // Replies of targets and requests of clients come in by interfaces that the route back does not use.
  ['rp_filter', '0'],
  // To whom it is on the same link with as a packet's target: that it should send to the target itself, past the load
  // balancer. By `fwmark_reflect` it would even go to the target instead. IPv6 has no such setting, and makes none for
  // next hops that are not link-local (RFC 4861, section 8.2).
  ['send_redirects', '0'],
  // A link of this host that comes up, or gets another MAC address, tells its neighbours: their answers to clients go there.
  ['arp_notify', '1'],
];
/** The same of IPv6: neighbours keep the former MAC address for 16 s otherwise. */
const IPV6_LINKS: readonly (readonly [name: string, wanted: string])[] = [['ndisc_notify', '1']];

/** Entries of net/ipv6/conf that stand for no way out of this host. */
const NO_LINKS = new Set(['all', 'default', 'lo']);

/**
 * - `absent`: the kernel has it switched off or not at all;
 * - `disabled`: by the setting for all interfaces of this network namespace;
 * - `enabled`: for one interface at least.
 */
export type Ipv6State = 'enabled' | 'disabled' | 'absent';

const IPV6_WARNINGS: Readonly<Record<Ipv6State, readonly string[]>> = {
  enabled: [],
  disabled: [
    'IPv6 is disabled in this network namespace (sysctl net.ipv6.conf.all.disable_ipv6 is 1): IPv4 alone is served. ' +
      'For IPv6: sysctl -w net.ipv6.conf.all.disable_ipv6=0',
  ],
  absent: ['this kernel has no IPv6: IPv4 alone is served'],
};

/** @throws EnvironmentError if it cannot be read */
export async function ipv6State(procSys = '/proc/sys'): Promise<Ipv6State> {
  const folder = join(procSys, 'net/ipv6/conf');
  const names = await onFile('list', folder, () => orMissing(readdir(folder)));
  if (names === null) {
    return 'absent';
  }
  const setting = async (name: string): Promise<string | undefined> => {
    const file = join(folder, name, 'disable_ipv6');
    return (await onFile('read', file, () => orMissing(readFile(file, 'utf8'))))?.trim();
  };
  if ((await setting('all')) !== '1') {
    return 'enabled';
  }
  for (const name of names.filter(name => !NO_LINKS.has(name))) {
    // The kernel asks each interface alone, and this one was enabled since.
    if ((await setting(name)) === '0') {
      return 'enabled';
    }
  }
  return 'disabled';
}

/** null for what is not there, or went since it was listed. */
async function orMissing<Value>(reading: Promise<Value>): Promise<Value | null> {
  try {
    return await reading;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
      return null;
    }
    throw error;
  }
}

export interface SysctlOutcome {
  /** What was set. */
  readonly changes: readonly string[];
  /** One line for each setting that is not as wanted and could not be made so, and one if IPv6 is not served. */
  readonly warnings: readonly string[];
}

/**
 * Set what differs in the network namespace of this process.
 * @param gate  NO_REPAIRS: only tell what would be set
 */
export async function applySysctls(
  ipv6: Ipv6State,
  procSys = '/proc/sys',
  gate: RepairGate = ALL_REPAIRS,
): Promise<SysctlOutcome> {
  const warnings = [...IPV6_WARNINGS[ipv6]];
  const changes: string[] = [];
  const links = [
    ...(await ofEachLink(procSys, 'net/ipv4/conf', IPV4_LINKS)),
    ...(ipv6 === 'enabled' ? await ofEachLink(procSys, 'net/ipv6/conf', IPV6_LINKS) : []),
  ];
  // What `ip_forward` is set to becomes the setting of all interfaces: theirs follow.
  const one = ([path, wanted]: readonly [string, string]) => applySysctl(procSys, path, wanted, gate);
  const general = await Promise.all([...IPV4, ...(ipv6 === 'enabled' ? IPV6 : [])].map(one));
  for (const { change, warning } of [...general, ...(await Promise.all(links.map(one)))]) {
    if (change !== undefined) changes.push(change);
    if (warning !== undefined) warnings.push(warning);
  }
  return { changes, warnings };
}

/** Paths of `settings`, of each entry of `folder`: `all`, `default`, and each interface. */
async function ofEachLink(
  procSys: string,
  folder: string,
  settings: readonly (readonly [name: string, wanted: string])[],
): Promise<(readonly [path: string, wanted: string])[]> {
  const path = join(procSys, folder);
  const names = await onFile('list', path, () => readdir(path));
  return names.flatMap(name =>
    settings.map(([setting, wanted]) => [`${folder}/${name}/${setting}`, wanted] as const),
  );
}

async function applySysctl(
  procSys: string,
  path: string,
  wanted: string,
  gate: RepairGate,
): Promise<{ change?: string; warning?: string }> {
  const file = join(procSys, path);
  let found: string;
  try {
    found = (await readFile(file, 'utf8')).trim();
  } catch (error) {
    if (/^net\/ipv[46]\/conf\/(?!all\/)/.test(path) && (error as NodeJS.ErrnoException).code === 'ENOENT') {
      // The interface went since it was listed.
      return {};
    }
    return {
      warning: `sysctl ${path} cannot be read, ${wanted} is wanted: ${reasonAnd(error, path, wanted)}`,
    };
  }
  if (found === wanted) {
    return {};
  }
  try {
    const what = `sysctl ${path}`;
    if (gate.allows(what)) {
      await writeFile(file, wanted);
      gate.repaired(what);
    } else if (gate !== NO_REPAIRS) {
      return {};
    }
    return { change: `${what} from ${found} to ${wanted}` };
  } catch (error) {
    return { warning: `sysctl ${path} is ${found}, ${wanted} is wanted: ${reasonAnd(error, path, wanted)}` };
  }
}

/** What the kernel said, and the next step. */
function reasonAnd(error: unknown, path: string, wanted: string): string {
  // sysctl(8) takes slashes too, which the names of interfaces cannot hold.
  const setting = `${path}=${wanted}`;
  return `${(error as Error).message}. Set it from outside: sysctl -w ${setting} (in a container: --sysctl, see the README)`;
}
