/** Names of interfaces with `*` at their end, as nftables has them. */

export function overlapsPattern(one: string, other: string): boolean {
  const [first, second] = [stem(one), stem(other)];
  if (one.endsWith('*') && other.endsWith('*')) return first.startsWith(second) || second.startsWith(first);
  if (one.endsWith('*')) return other.startsWith(first);
  if (other.endsWith('*')) return one.startsWith(second);
  return one === other;
}

/** Whether `outer` matches all that `inner` does. */
export function withinPattern(inner: string, outer: string): boolean {
  return outer.endsWith('*') ? stem(inner).startsWith(stem(outer)) : inner === outer;
}

function stem(pattern: string): string {
  return pattern.endsWith('*') ? pattern.slice(0, -1) : pattern;
}
