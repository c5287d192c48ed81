/** The network namespace that the daemon works in: which one it is, whether it is the machine's own, and the lock on it. */
import { existsSync, readlinkSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { networkInterfaces } from 'node:os';
import { parseHost } from '../config/address.js';
import { type NamespaceIdentity, readBootId } from '../kernel/journal.js';
import { namespaceCookie } from '../queue/native.js';
import type { Family, Host } from '../types/config.js';
import { ClashError } from '../types/errors.js';

/** Inode number of this process's network namespace, as `ip netns identify` and lsns show it. */
export function namespaceInode(): string {
  const link = readlinkSync('/proc/self/ns/net');
  const inode = /^net:\[([0-9]+)\]$/.exec(link)?.[1];
  if (inode === undefined) throw new Error(`/proc/self/ns/net reads ${link}, not net:[INODE]`);
  return inode;
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

/** Addresses of this host's interfaces. */
export function hostAddresses(): Host[] {
  return Object.values(networkInterfaces())
    .flatMap(addresses => addresses ?? [])
    .map(({ address }) => parseHost(address.replace(/%.*$/, '')))
    .filter((host): host is Host => typeof host !== 'string');
}

/** Addresses of interfaces that are up. */
export function interfaceAddresses(): { name: string; family: Family; address: string }[] {
  return Object.entries(networkInterfaces()).flatMap(([name, addresses]) =>
    (addresses ?? []).map(
      ({ family, address }) => ({ name, family: family === 'IPv4' ? 4 : 6, address }) as const,
    ),
  );
}

/** Abstract unix sockets belong to the network namespace and die with their process: the lock that fits. */
const LOCK_NAME = '\0magmark';

/**
 * Take the lock of this namespace.
 * @throws ClashError if another daemon holds it
 */
export async function lockNamespace(): Promise<Server> {
  const server = createServer(connection => connection.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      reject(
        error.code === 'EADDRINUSE'
          ? new ClashError(
              `another magmark runs in this network namespace (net:[${namespaceInode()}]); nothing was changed`,
            )
          : error,
      );
    });
    server.listen(LOCK_NAME, resolve);
  });
  server.unref();
  return server;
}
