/** What an operator of nfqlb has, through the command: every set of flows in YAML, its packets in a capture. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { dump } from 'js-yaml';
import t from 'tap';
import { pcapOf } from '../fixture/pcap.js';
import { configTextOf, EXCEPTIONS, vectors } from '../fixture/vectors.js';

const MAGMARK = fileURLToPath(new URL('../../host/bin/magmark.js', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'magmark-replay-'));
t.teardown(() => rmSync(directory, { recursive: true }));

t.test(
  'every set of flows of nfqlb is replayed, and each packet gets the flow and the mark that nfqlb gave it',
  t => {
    for (const [index, set] of vectors.flowSets.entries()) {
      const config = join(directory, `set-${index}.yaml`);
      const capture = join(directory, `set-${index}.pcap`);
      writeFileSync(config, dump(JSON.parse(configTextOf(set))));
      const packets = set.packets.map(({ hex }) => Buffer.from(hex, 'hex'));
      writeFileSync(capture, pcapOf(packets, { linkType: 101 }));
      const argv = [MAGMARK, 'replay', '--config', config, '--json', capture];
      const { status, stdout, stderr } = spawnSync('node', argv, { encoding: 'utf8' });
      t.equal(
        status,
        0,
        `flowSets[${index}]: ${stderr.split('\n').find(line => !line.startsWith('warning: '))}`,
      );
      const decided = stdout
        .split('\n')
        .filter(Boolean)
        .map(line => JSON.parse(line) as { flow: string | null; fwmark: number | null })
        .map(({ flow, fwmark }) => ({ flow, fwmark: fwmark ?? -1 }));
      const isCompared = (_: unknown, packet: number) =>
        !EXCEPTIONS.some(each => each[0] === index && each[1] === packet);
      t.strictSame(
        decided.filter(isCompared),
        set.packets.map(({ flow, fwmark }) => ({ flow, fwmark })).filter(isCompared),
        `flowSets[${index}]`,
      );
    }
    t.end();
  },
);
