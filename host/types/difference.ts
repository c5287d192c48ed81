/** One thing in which the kernel, or the configuration in force, is not as a configuration wants it. */
export interface Difference {
  /**
   * - `missing`: a change would add it; `changed`: it would put it right; `surplus`: it would remove it;
   * - `inactive`: a target that would receive no traffic, with the reason;
   * - `foreign`: it stands by another hand where our numbers are, and would be left.
   */
  readonly kind: 'missing' | 'changed' | 'surplus' | 'inactive' | 'foreign';
  /** Present: a difference from the configuration in force; `what` names a part of it, `web/2`. Absent: from the kernel. */
  readonly of?: 'configuration';
  /** A line of `ip`, an object of nftables, a rule of iptables, a setting. */
  readonly what: string;
}
