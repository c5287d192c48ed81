/** The network namespace that the daemon works in: which one it is, and whether it is the machine's own. */
import { existsSync, readdirSync, readlinkSync, statSync } from 'node:fs';
import type { InterfaceAddress } from '../frontend/router-id.js';
import { type NamespaceIdentity, readBootId } from '../kernel/journal.js';
import { listJson, type Run, run } from '../programs/command.js';
import { namespaceCookie } from '../queue/native.js';
import { KernelError } from '../types/errors.js';

/** Inode number of this process's network namespace, as `ip netns identify` and lsns show it. */
export function namespaceInode(): string {
  const link = readlinkSync('/proc/self/ns/net');
  const inode = /^net:\[([0-9]+)\]$/.exec(link)?.[1];
  if (inode === undefined) throw new Error(`/proc/self/ns/net reads ${link}, not net:[INODE]`);
  return inode;
}

const NAMED = '/run/netns';

/** Its name as `ip netns identify` prints it, the first of several; null: it has none. */
export function namespaceName(): string | null {
  const own = statSync('/proc/self/ns/net');
  const isOwn = (name: string): boolean => {
    const other = statSync(`${NAMED}/${name}`, { throwIfNoEntry: false });
    return other !== undefined && other.ino === own.ino && other.dev === own.dev;
  };
  return existsSync(NAMED) ? (readdirSync(NAMED).sort().find(isOwn) ?? null) : null;
}

/**
 * Whether this is the host's initial network namespace: its sysctls of the whole device layer are in no other one
 * (net/core/sysctl_net_core.c registers them for init_net alone). Comparing with /proc/1 would take a container for a host.
 */
export function isInitialNamespace(): boolean {
  return existsSync('/proc/sys/net/core/dev_weight');
}

/** What tells this namespace from every other since boot; inode numbers are used again. */
export async function namespaceIdentity(): Promise<NamespaceIdentity> {
  const cookie = namespaceCookie();
  return {
    bootId: await readBootId(),
    cookie: cookie === null ? `inode-${namespaceInode()}` : cookie.toString(),
  };
}

/** One interface as `ip -j addr` lists it; its addresses stand there without their zones. */
interface AddressListing {
  readonly ifname: string;
  readonly addr_info?: readonly { readonly family: string; readonly local?: string }[];
}

/**
 * Addresses of this host's interfaces, also of those without a carrier or down, which `os.networkInterfaces` leaves out.
 * @throws KernelError, EnvironmentError
 */
export async function hostAddresses(ask: Run = run): Promise<InterfaceAddress[]> {
  const interfaces = (await listJson(ask, ['-j', 'addr', 'show'])) as AddressListing[];
  // Each namespace has `lo`.
  if (interfaces.length === 0) throw new KernelError('ip -j addr show: it lists no interface');
  return interfaces.flatMap(({ ifname: name, addr_info = [] }) =>
    addr_info.flatMap(({ family, local }): InterfaceAddress[] =>
      local === undefined ? [] : [{ name, family: family === 'inet' ? 4 : 6, address: local }],
    ),
  );
}
