/** The house's walls: what each room may import, and what the built Wasm may hold. ARCHITECTURE.md gives the table for people. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

interface Room {
  readonly folder: string;
  /** Rooms and packages; `node:` stands for Node's own modules. */
  readonly may: readonly string[];
  /** Packages that one file alone may import. */
  readonly alone?: Readonly<Record<string, string>>;
  readonly why: string;
}

const ROOMS: readonly Room[] = [
  { folder: 'assembly', may: [], why: 'the core is compiled alone and runs without Node' },
  { folder: 'host/types', may: [], why: 'everybody imports it, so it imports nobody' },
  {
    folder: 'host/util',
    may: ['node:'],
    why: 'what has no field of its own, and needs nothing of the others',
  },
  {
    folder: 'host/util',
    may: ['node:'],
    why: 'what has no field of its own, and needs nothing of the others',
  },
  {
    folder: 'host/config',
    may: ['host/types', 'host/util', 'js-yaml', 'zod', 'ipaddr.js', 'node:'],
    why: 'validation is a function of text: no kernel, no core',
  },
  {
    folder: 'host/capture',
    may: ['host/types', 'node:'],
    why: "files to packets: what they mean is the core's business",
  },
  {
    folder: 'host/core',
    may: ['host/types', 'node:'],
    alone: { '@assemblyscript/loader': 'host/core/wasm.ts' },
    why: 'images are built from plain values, and one file instantiates Wasm',
  },
  {
    folder: 'host/simulator',
    may: ['host/core', 'host/types'],
    why: 'planners run it without root, kernel or threads',
  },
  {
    folder: 'host/programs',
    may: ['host/types', 'host/util', 'node:'],
    alone: { execa: 'host/programs/command.ts' },
    why: 'the room that starts programs, so that each can be seen, bounded and faked in one place',
  },
  {
    folder: 'host/kernel',
    may: ['host/types', 'host/util', 'host/programs', 'node:'],
    why: 'what the kernel shall hold is a function of plain values and of what it lists',
  },
  {
    folder: 'host/frontend',
    may: ['host/types', 'host/util', 'host/programs', 'node:'],
    why: 'BIRD knows VIPs, gateways and addresses; no queue, no rule',
  },
  {
    folder: 'host/native',
    may: ['host/types', 'node:'],
    why: 'what was compiled is loaded in one place; who uses it knows what it answers',
  },
  {
    folder: 'host/health',
    may: ['host/native', 'host/types', 'host/util', 'node:'],
    why: 'a check asks one address by one mark and tells what came of it',
  },
  {
    folder: 'host/queue',
    may: ['host/core', 'host/native', 'host/types', 'node:'],
    why: 'threads, queues and the core; no rule, route or text',
  },
  {
    folder: 'host/control',
    may: ['host/types', 'host/config', 'node:'],
    why: 'commands that only ask must start fast',
  },
  {
    folder: 'host/lock',
    may: ['host/control/socket.ts', 'host/native', 'host/types', 'node:'],
    why: 'who holds a lock; what it protects is the business of who takes it',
  },
  {
    folder: 'host/nfqlb',
    may: [
      'host/types',
      'host/control',
      'host/lock',
      'host/config/range.ts',
      'host/core/key.ts',
      'host/flowlb/run.ts',
      'node:',
    ],
    why: "nfqlb's command line: words in, words out, and whatever is slow to load is loaded on demand",
  },
  {
    folder: 'host/flowlb',
    may: [
      'host/types',
      'host/config',
      'host/core',
      'host/queue',
      'host/control',
      'host/lock',
      'host/trace',
      'host/daemon/incidents.ts',
      'host/daemon/listing.ts',
      'host/daemon/log.ts',
      'node:',
    ],
    why: 'the dataplane alone: whoever starts it owns rules, routes and gateways',
  },
  {
    folder: 'host/trace',
    may: ['host/core', 'host/control', 'host/config', 'host/types', 'node:'],
    why: 'it reads what workers wrote down, for whichever daemon has the memory; no queue, no kernel',
  },
  {
    folder: 'host/metrics',
    may: ['host/types', 'node:'],
    alone: { 'prom-client': 'host/metrics/exposition.ts' },
    why: 'text and HTTP from plain values: who observes is not who tells',
  },
  {
    folder: 'host/notify',
    may: ['host/native', 'host/types', 'node:'],
    why: 'what a supervisor is told; what is so is the business of who tells',
  },
  {
    folder: 'host/daemon',
    may: [
      'host/types',
      'host/util',
      'host/config',
      'host/core',
      'host/programs',
      'host/kernel',
      'host/frontend',
      'host/health',
      'host/metrics',
      'host/queue',
      'host/control',
      'host/lock',
      'host/simulator',
      'host/trace',
      'host/version.ts',
      'node:',
    ],
    alone: { pino: 'host/daemon/log.ts' },
    why: 'the one place where the rooms meet',
  },
];

function filesIn(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile() && entry.name.endsWith('.ts'))
    .map(entry => relative(ROOT, join(entry.parentPath ?? entry.path, entry.name)));
}

/** What a file imports, statically, dynamically or as a type; own files as paths from the root. */
function importsOf(file: string): string[] {
  const source = readFileSync(join(ROOT, file), 'utf8');
  const found = [...source.matchAll(/(?:\bfrom\s+|\bimport\s*\(\s*|^import\s+)'([^']+)'/gm)].map(
    match => match[1]!,
  );
  return found.map(name =>
    name.startsWith('.') ? relative(ROOT, resolve(ROOT, dirname(file), name)).replace(/\.js$/, '.ts') : name,
  );
}

t.test('a room imports only what its row of the table allows', async t => {
  for (const room of ROOMS) {
    const files = filesIn(room.folder);
    t.ok(files.length > 0, `${room.folder} has files`);
    for (const file of files) {
      const foreign = importsOf(file).filter(name => {
        if (room.alone?.[name] === file) return false;
        return ![room.folder, ...room.may].some(
          allowed => name === allowed || name.startsWith(allowed.endsWith(':') ? allowed : `${allowed}/`),
        );
      });
      t.strictSame(foreign, [], `${file}: ${room.why}`);
    }
  }
});

t.test('the table sees an import that is not allowed', async t => {
  const kernel = ROOMS.find(room => room.folder === 'host/kernel')!;
  t.notOk(kernel.may.some(allowed => 'host/core/wasm.ts'.startsWith(`${allowed}/`)));
  t.ok(importsOf('host/core/image.ts').includes('host/core/arena.ts'));
  t.ok(importsOf('host/bin/magmark.ts').includes('host/cli/run.ts'), 'dynamic imports are seen');
});

t.test('the native files include the kernel, the C library and node-addon-api alone', async t => {
  const files = readdirSync(join(ROOT, 'native')).filter(name => name.endsWith('.cc'));
  t.strictSame(files.sort(), ['lock.cc', 'nfqueue.cc', 'notify.cc', 'probe.cc']);
  for (const file of files) {
    const source = readFileSync(join(ROOT, 'native', file), 'utf8');
    const included = [...source.matchAll(/^#include\s+[<"]([^>"]+)[>"]/gm)].map(match => match[1]!);
    t.ok(included.includes('napi.h'), file);
    t.strictSame(
      included.filter(
        name =>
          !/^(napi\.h|linux\/[\w/]+\.h|sys\/\w+\.h|arpa\/inet\.h|netinet\/in\.h|\w+\.h|c?[a-z]+)$/.test(name),
      ),
      [],
      file,
    );
    t.notMatch(source, /maglev|five.?tuple|djb2/i, `${file} knows nothing of load balancing`);
  }
});

/** Reads the sections of a Wasm module: id, and its bytes. */
function sections(wasm: Uint8Array): Map<number, Uint8Array> {
  const found = new Map<number, Uint8Array>();
  for (let at = 8; at < wasm.length; ) {
    const id = wasm[at]!;
    const [size, start] = leb(wasm, at + 1);
    if (id !== 0) found.set(id, wasm.subarray(start, start + size));
    at = start + size;
  }
  return found;
}

function leb(bytes: Uint8Array, at: number): [value: number, next: number] {
  let value = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = bytes[at++]!;
    value |= (byte & 0x7f) << shift;
    if ((byte & 0x80) === 0) return [value >>> 0, at];
  }
}

t.test(
  'the built core imports env.memory alone, and has no data, no table, no start and no mutable global',
  async t => {
    const wasm = readFileSync(join(ROOT, 'dist/wasm/core.wasm'));
    const module = new WebAssembly.Module(wasm);
    t.strictSame(WebAssembly.Module.imports(module), [{ module: 'env', name: 'memory', kind: 'memory' }]);
    const found = sections(wasm);
    const names: Record<number, string> = {
      4: 'table',
      5: 'own memory',
      8: 'start',
      9: 'elements',
      11: 'data',
      12: 'data count',
    };
    for (const [id, name] of Object.entries(names)) t.notOk(found.has(Number(id)), `no section of ${name}`);
    const globals = found.get(6);
    t.ok(globals !== undefined, 'its constants are exported as globals');
    let [count, at] = leb(globals!, 0);
    for (; count > 0; count--) {
      if (globals![at] !== 0x7f || globals![at + 1] !== 0 || globals![at + 2] !== 0x41)
        return t.fail(`a global at byte ${at} is not a constant i32`);
      at += 3;
      while ((globals![at++]! & 0x80) !== 0);
      t.equal(globals![at++], 0x0b);
    }
  },
);

t.test('worker.ts and decide.ts each fit one screen', async t => {
  for (const file of ['host/queue/worker.ts', 'assembly/decide.ts']) {
    const lines = readFileSync(join(ROOT, file), 'utf8').split('\n').length;
    t.ok(lines <= 130, `${file} has ${lines} lines`);
  }
});
