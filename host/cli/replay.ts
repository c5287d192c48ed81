/** `magmark replay`: a capture through the production core. No root, no daemon. */
import Table from 'cli-table3';
import { readCapture } from '../capture/capture-file.js';
import { ipOffset } from '../capture/link.js';

import { readConfigWithWarnings } from '../config/file.js';
import { Replay } from '../simulator/replay.js';
import { type Decision, Simulator } from '../simulator/simulator.js';
import { CaptureError } from '../types/errors.js';
import { Output } from './output.js';

export interface ReplayOptions {
  readonly config: string;
  readonly json?: boolean;
}

/** @throws ConfigError, CaptureError: what was decided before the fault has been printed */
export async function replay(capture: string, options: ReplayOptions): Promise<void> {
  const decider = new Replay(Simulator.fromConfig(await readConfigWithWarnings(options.config)));
  const output = new Output();
  const tally = new Tally();
  let fault: CaptureError | null = null;
  try {
    for (const { number, linkType, bytes, wireLength } of readCapture(capture)) {
      const offset = ipOffset(linkType, bytes);
      const decision = decider.decide(
        offset === null ? null : bytes.subarray(offset),
        wireLength - (offset ?? 0),
      );
      if (options.json) await output.write(`${JSON.stringify({ n: number, ...decision })}\n`);
      else tally.add(decision);
    }
  } catch (error) {
    if (!(error instanceof CaptureError)) throw error;
    fault = error;
  }
  if (!options.json && (fault === null || tally.packets > 0)) await output.write(tally.text());
  await output.end();
  if (fault !== null) throw fault;
}

const BAR_WIDTH = 30;

/** Packets by flow and target, and by reason. */
class Tally {
  private readonly targets = new Map<string, { cells: string[]; packets: number }>();
  private readonly reasons = new Map<string, number>();
  packets = 0;

  add({ reason, flow, stream, identifier, fwmark }: Decision): void {
    this.packets++;
    this.reasons.set(reason, (this.reasons.get(reason) ?? 0) + 1);
    const cells = [
      flow ?? '-',
      stream ?? '-',
      identifier?.toString() ?? '-',
      fwmark?.toString() ?? 'dropped',
    ];
    const key = cells.join(' ');
    const row = this.targets.get(key);
    if (row === undefined) this.targets.set(key, { cells, packets: 1 });
    else row.packets++;
  }

  text(): string {
    const rows = [...this.targets.values()].sort((one, other) => other.packets - one.packets);
    const most = rows[0]?.packets ?? 1;
    const count = `${this.packets} packet${this.packets === 1 ? '' : 's'}\n`;
    if (this.packets === 0) return count;
    const style = { head: [], border: [], compact: true };
    const targets = new Table({
      head: ['flow', 'stream', 'target', 'mark', 'packets', 'share', ''],
      colAligns: ['left', 'left', 'right', 'right', 'right', 'right', 'left'],
      style,
    });
    for (const { cells, packets } of rows)
      targets.push([...cells, packets, this.share(packets), bar(packets / most)]);
    const reasons = new Table({
      head: ['reason', 'packets', 'share'],
      colAligns: ['left', 'right', 'right'],
      style,
    });
    for (const [reason, packets] of this.reasons) reasons.push([reason, packets, this.share(packets)]);
    return `${count}${targets.toString()}\n${reasons.toString()}\n`;
  }

  private share(packets: number): string {
    return `${((100 * packets) / this.packets).toFixed(1)} %`;
  }
}

function bar(part: number): string {
  return '█'.repeat(Math.max(1, Math.round(part * BAR_WIDTH)));
}
