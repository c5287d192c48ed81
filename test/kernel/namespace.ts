/** A network namespace of its own for a test file, and the reference document's interfaces in it. */
import { execFileSync, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const INSIDE = 'MAGMARK_TEST_NAMESPACE';

/**
 * True in the process that may test. The first process of a test file runs the file once more in new network and mount
 * namespaces, which vanish with it whatever happens, and takes its exit code; for it this is false.
 */
export function insideNamespace(moduleUrl: string): boolean {
  if (process.env[INSIDE] !== undefined) {
    return true;
  }
  const node = [process.execPath, ...process.execArgv, fileURLToPath(moduleUrl)];
  const { status } = spawnSync('unshare', ['--net', '--mount', ...node], {
    stdio: 'inherit',
    env: { ...process.env, [INSIDE]: '1' },
  });
  process.exitCode = status ?? 1;
  return false;
}

/** Run a line of a shell that is known to succeed; its output. */
export function shell(line: string): string {
  return execFileSync('sh', ['-c', line], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

const ADDRESSES = {
  'conduit-a--d7c4': ['172.16.0.4/24', 'fd00::4/64'],
  'conduit-a--f75b': ['172.16.1.4/24', 'fd00:0:0:1::4/64'],
  'ext-vlan0': ['169.254.100.1/24', '100:100::1/64'],
} as const;

/** conduit-a--d7c4, conduit-a--f75b and ext-vlan0, with the reference's addresses; the peers are in namespace `peer`. */
export function makeInterfaces(): void {
  // Named namespaces of this mount namespace alone.
  shell('mkdir -p /run/netns && mount -t tmpfs none /run/netns && ip netns add peer && ip link set lo up');
  for (const name of Object.keys(ADDRESSES)) {
    shell(`ip link add ${name} type veth peer name ${name} netns peer && ip -n peer link set ${name} up`);
    shell(`ip link set ${name} up`);
  }
  addAddresses();
}

/** Give the interfaces their addresses, also again: IPv6 that is disabled loses its own. */
export function addAddresses(): void {
  for (const [name, [ipv4, ipv6]] of Object.entries(ADDRESSES)) {
    shell(`ip addr replace ${ipv4} dev ${name} && ip addr replace ${ipv6} dev ${name} nodad`);
  }
}
