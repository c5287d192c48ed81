/** What the guest found, as it hands it to the host: one JSON file each. */

/** A part of the guest's work that could not be done carries the error instead. */
export type Part<Found> = Found | { readonly error: string };

export interface CommandReport {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** What `nft` prints while a daemon with the demonstration's configuration runs. */
export interface Listings {
  readonly carrier: string;
  readonly 'meridio-nfqlb': string;
  readonly 'meridio-defrag': string;
  readonly 'meridio-nat': string;
  readonly ruleset: string;
}

export interface SctpFigures {
  readonly attempted: number;
  readonly answered: number;
  readonly asPredicted: number;
  /** What the first that failed said. */
  readonly firstError: string | null;
  /** Identifiers of the targets that answered. */
  readonly targets: readonly number[];
}

export interface TrafficReport {
  /** scripts/demo's program with --json. */
  readonly demo: CommandReport;
  readonly listings: Part<Listings>;
  readonly sctp: Part<{ readonly ipv4: SctpFigures; readonly ipv6: SctpFigures }>;
}

/** What each guest does: they share the work, since an emulated machine uses one processor. */
export interface Work {
  readonly traffic: TrafficReport;
  /** The compiled test/kernel/kernel.test.ts and test/end-to-end/fragments.test.ts; stdout is TAP. */
  readonly kernel: { readonly tests: CommandReport; readonly fragments: CommandReport };
  /** The compiled test/end-to-end/guard.test.ts and a part of withdrawal.test.ts; stdout is TAP. */
  readonly others: { readonly guard: CommandReport; readonly withdrawal: CommandReport };
  /** The compiled test/end-to-end/takeover.test.ts; stdout is TAP. */
  readonly takeover: CommandReport;
}

/** Those that take too long for every run of the suite. */
export type LongWork = 'others' | 'takeover';

export interface GuestReport<Name extends keyof Work> {
  /** `uname -r` and `nft --version`. */
  readonly kernel: string;
  readonly nft: string;
  readonly found: Work[Name];
  /** By the guest's own clock. */
  readonly durationsMs: Readonly<Record<string, number>>;
}

export interface MachineReport<Name extends keyof Work> extends GuestReport<Name> {
  /** From the start of qemu to a system with the host's files. */
  readonly bootMs: number;
  /** From the start of qemu to its end. */
  readonly totalMs: number;
  /** 2: the first time the guest came to no result. */
  readonly attempts: number;
}

export type VmReport = { readonly [Name in Exclude<keyof Work, LongWork>]: MachineReport<Name> } & {
  /** undefined: the long work was not requested. */
  readonly long?: { readonly [Name in LongWork]: MachineReport<Name> } | undefined;
};
