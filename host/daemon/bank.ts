/** Which queue numbers a daemon binds that takes over: those of the running one are held until it has left. Pure. */

export interface Bank {
  readonly first: number;
  readonly last: number;
}

const MOST = 65_535;

/**
 * The configured numbers if they are free, else as many behind them, else as many behind those that are in use: so two
 * daemons that take over from each other in turn have the configured numbers every other time.
 * @param inUse  of the running daemon
 * @param bound  all numbers that are bound in this namespace
 * @returns null if none of these are free
 */
export function freeBank(configured: Bank, inUse: Bank, bound: ReadonlySet<number>): Bank | null {
  return (
    banksOf(configured, inUse).find(({ first, last }) => {
      const numbers = Array.from({ length: last - first + 1 }, (_, index) => first + index);
      return last <= MOST && numbers.every(number => !bound.has(number));
    }) ?? null
  );
}

/** In the order in which they are tried. */
export function banksOf(configured: Bank, inUse: Bank): Bank[] {
  const count = configured.last - configured.first + 1;
  const behind = ({ last }: Bank): Bank => ({ first: last + 1, last: last + count });
  return [configured, behind(configured), behind(inUse)];
}

export function bankText({ first, last }: Bank): string {
  return first === last ? String(first) : `${first}:${last}`;
}
