/** Captures of ICMP errors that nfqlb 1.2.0 decides, and those where we differ on purpose: test/vectors/errors. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { readCapture } from '../../host/capture/capture-file.js';
import { loadConfig } from '../../host/config/load.js';
import { Replay } from '../../host/simulator/replay.js';
import { Simulator } from '../../host/simulator/simulator.js';
import { Reference } from '../reference/flow.js';

interface Expected {
  readonly file: string;
  /** Place of the packet in the capture, from 1. */
  readonly n: number;
  /** null: the packet is dropped. */
  readonly fwmark: number | null;
  readonly claim: string;
}

const path = (name: string) =>
  fileURLToPath(new URL(`../../../test/vectors/errors/${name}`, import.meta.url));
const expected = JSON.parse(readFileSync(path('expected.json'), 'utf8')) as Expected[];

for (const file of new Set(expected.map(each => each.file)))
  t.test(`${file}.pcap is decided as nfqlb decides it, or as the difference says`, async t => {
    const config = loadConfig(readFileSync(path(`${file}.json`), 'utf8'), `${file}.json`);
    const replay = new Replay(Simulator.fromConfig(config));
    const reference = new Reference(config);
    const packets = [...readCapture(path(`${file}.pcap`))].map(({ bytes, wireLength }) => {
      const decision = replay.decide(bytes, wireLength);
      return { decision, reference: reference.decide(bytes, wireLength), isLater: isLaterFragment(bytes) };
    });
    for (const { n, fwmark, claim } of expected.filter(each => each.file === file)) {
      const packet = packets[n - 1]!;
      t.equal(packet.decision.fwmark, fwmark, claim);
      if (fwmark === null) t.equal(packet.decision.reason, 'fragment-without-first', `${claim}: its reason`);
      // The reference decides each packet alone.
      if (!packet.isLater) t.strictSame(packet.decision, packet.reference, `${claim}: so does the reference`);
    }
  });

function isLaterFragment(bytes: Uint8Array): boolean {
  return (((bytes[6]! << 8) | bytes[7]!) & 0x1fff) !== 0;
}
