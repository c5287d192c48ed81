/** Tables of the benchmarks, for a terminal. */
import Table from 'cli-table3';

/** Text in the first column, numbers in the others. */
export function tableOf(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const table = new Table({
    head: [...head],
    colAligns: head.map((_, column) => (column === 0 ? 'left' : 'right')),
    style: { head: [], border: [] },
  });
  table.push(...rows.map(row => [...row]));
  return table.toString();
}
