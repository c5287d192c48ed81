/** What the guest's kernel starts with: busybox, the modules that lead to the host's files, and the first program. */
import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';

/** Beyond what is built into the kernel. */
const MODULES = ['virtio_pci', 'virtiofs', 'overlay'];

/**
 * @param kernel unpacked kernel package: `lib/modules/RELEASE`
 * @param directory scratch, of the caller
 * @returns path of the archive (newc, as initramfs-buffer-format.rst of the kernel has it)
 */
export function buildInitrd(kernel: string, busybox: string, init: string, directory: string): string {
  const tree = join(directory, 'initrd');
  mkdirSync(join(tree, 'bin'), { recursive: true });
  mkdirSync(join(tree, 'modules'));
  copyFileSync(busybox, join(tree, 'bin/busybox'));
  copyFileSync(init, join(tree, 'init'));
  chmodSync(join(tree, 'init'), 0o755);
  const order = modulesInOrder(kernel);
  for (const module of order) copyFileSync(module, join(tree, 'modules', basename(module)));
  writeFileSync(join(tree, 'modules/order'), order.map(module => `${basename(module)}\n`).join(''));
  const archive = join(directory, 'initrd.cpio');
  execFileSync('sh', ['-c', 'find . | "$1" cpio -o -H newc >"$2"', 'sh', busybox, archive], {
    cwd: tree,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  return archive;
}

/** Files of MODULES and of what they need, each after what it needs itself. */
function modulesInOrder(kernel: string): string[] {
  const [release] = readdirSync(join(kernel, 'lib/modules'));
  const find = (module: string): string[] =>
    execFileSync('modprobe', ['--dirname', kernel, '--set-version', release!, '--show-depends', module], {
      encoding: 'utf8',
    })
      .split('\n')
      // The others are `builtin NAME`.
      .filter(line => line.startsWith('insmod '))
      .map(line => line.split(' ')[1]!);
  return [...new Set(MODULES.flatMap(find))];
}
