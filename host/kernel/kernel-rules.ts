/** The rules by which the kernel finds its own tables: somebody may delete them. Pure. */
import type { Family } from '../types/config.js';
import { KERNEL_TABLES } from '../types/marks.js';
import type { RuleListing, RuleOutline } from './rule.js';

interface KernelRule {
  readonly priority: number;
  readonly table: number;
  readonly name: string;
  readonly effect: string;
}

const LOCAL: KernelRule = {
  priority: 0,
  table: KERNEL_TABLES.last,
  name: 'local',
  effect: 'this host does not receive packets to its own addresses',
};
const MAIN: KernelRule = {
  priority: 32766,
  table: KERNEL_TABLES.main,
  name: 'main',
  effect: 'no packet finds the routes of main, so that targets, gateways and VIPs have no route',
};

/** @param listings of IPv4, then IPv6. @returns one line for each of these rules that no rule takes the place of */
export function missingKernelRules(listings: readonly RuleListing[]): string[] {
  return listings.flatMap(({ all }, index) =>
    [LOCAL, MAIN]
      .filter(({ table }) => !leadsTo(all, table))
      .map(({ priority, name, effect }) => {
        const family: Family = index === 0 ? 4 : 6;
        return (
          `IPv${family} rule "${priority}: from all lookup ${name}" is missing: ${effect}. ` +
          `Restore it: ip -${family} rule add priority ${priority} lookup ${name}`
        );
      }),
  );
}

/** Families whose packets do not find main's routes. */
export function familiesWithoutMain(listings: readonly RuleListing[]): Family[] {
  return listings.flatMap(({ all }, index) => (leadsTo(all, MAIN.table) ? [] : [index === 0 ? 4 : 6]));
}

/** Whether a rule of any priority leads all packets to `table`. */
function leadsTo(all: readonly RuleOutline[], table: number): boolean {
  return all.some(
    rule =>
      rule.table === table &&
      [rule.from, rule.to, rule.iif, rule.fwmark].every(condition => condition === null) &&
      !rule.inverted &&
      !rule.idle,
  );
}
