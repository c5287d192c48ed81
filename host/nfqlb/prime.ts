/** Primes for `nfqlb primebelow`, without the core: a command starts fast. The core's own are compared by a test. */

/** The largest prime that is not above `n`; below 4 `n` itself, as nfqlb has it. */
export function primeBelow(n: number): number {
  if (n < 4) return n;
  let candidate = n % 2 === 0 ? n - 1 : n;
  while (!isOddPrime(candidate)) candidate -= 2;
  return candidate;
}

function isOddPrime(n: number): boolean {
  for (let divisor = 3; divisor * divisor <= n; divisor += 2) if (n % divisor === 0) return false;
  return true;
}
