/** Text for people. */
import Table from 'cli-table3';

export interface TargetShare {
  readonly identifier: number;
  readonly fwmark: number;
  /** Connections that it answered. */
  readonly connections: number;
  /** Its share of the Maglev table, 0..1. */
  readonly slots: number;
}

const BAR_CELLS = 40;

/** A table and a bar per target of who got what. */
export function sharesText(shares: readonly TargetShare[]): string {
  const all = shares.reduce((sum, each) => sum + each.connections, 0);
  const most = Math.max(1, ...shares.map(each => each.connections));
  const table = new Table({
    head: ['target', 'fwmark', 'slots', 'connections', 'share', ''],
    colAligns: ['right', 'right', 'right', 'right', 'right', 'left'],
    style: { head: [], border: [] },
  });
  for (const { identifier, fwmark, slots, connections } of shares) {
    const bar = '█'.repeat(Math.round((connections / most) * BAR_CELLS));
    table.push([
      identifier,
      fwmark,
      percent(slots),
      connections,
      percent(all === 0 ? 0 : connections / all),
      bar,
    ]);
  }
  return table.toString();
}

const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;

/** Indented below what it belongs to. */
export const indented = (text: string): string => text.trimEnd().replace(/^/gm, '    ');
