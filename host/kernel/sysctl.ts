/**
 * The kernel's settings that the packet path needs, written where they differ and left on exit: another program may rely
 * on them by then.
 */
import { access, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const IPV4: readonly (readonly [path: string, wanted: string])[] = [
  ['net/ipv4/ip_forward', '1'],
  // Egress over several gateways by ports too, so that a connection keeps its gateway.
  ['net/ipv4/fib_multipath_hash_policy', '1'],
  // Errors that this host makes for a client bear the mark of the packet that caused them.
  ['net/ipv4/fwmark_reflect', '1'],
];
const IPV6: readonly (readonly [path: string, wanted: string])[] = [
  ['net/ipv6/conf/all/forwarding', '1'],
  ['net/ipv6/fib_multipath_hash_policy', '1'],
  ['net/ipv6/fwmark_reflect', '1'],
];

/** False where the kernel has IPv6 switched off or not at all. */
export async function hasIpv6(procSys = '/proc/sys'): Promise<boolean> {
  try {
    await access(join(procSys, 'net/ipv6'));
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
      return false;
    }
    throw error;
  }
}

/**
 * Set what differs in the network namespace of this process.
 * @returns one line for each setting that is not as wanted and could not be made so
 */
export async function applySysctls(procSys = '/proc/sys'): Promise<string[]> {
  const ipv6 = await hasIpv6(procSys);
  const warnings = ipv6 ? [] : ['this kernel has no IPv6: IPv4 alone is served'];
  const interfaces = await readdir(join(procSys, 'net/ipv4/conf'));
  // Replies of targets and requests of clients come in by interfaces that the route back does not use.
  const filters = interfaces.map(name => [`net/ipv4/conf/${name}/rp_filter`, '0'] as const);
  for (const [path, wanted] of [...IPV4, ...(ipv6 ? IPV6 : []), ...filters]) {
    const warning = await applySysctl(procSys, path, wanted);
    if (warning !== null) {
      warnings.push(warning);
    }
  }
  return warnings;
}

async function applySysctl(procSys: string, path: string, wanted: string): Promise<string | null> {
  const file = join(procSys, path);
  let found: string;
  try {
    found = (await readFile(file, 'utf8')).trim();
  } catch (error) {
    if (path.endsWith('/rp_filter') && (error as NodeJS.ErrnoException).code === 'ENOENT') {
      // The interface went since it was listed.
      return null;
    }
    return `sysctl ${path} cannot be read, ${wanted} is wanted: ${(error as Error).message}`;
  }
  if (found === wanted) {
    return null;
  }
  try {
    await writeFile(file, wanted);
    return null;
  } catch (error) {
    return `sysctl ${path} is ${found}, ${wanted} is wanted: ${(error as Error).message}`;
  }
}
