/**
 * What the metrics tell, as plain values at one moment. Contract of this room: it knows text and HTTP; whoever fills an
 * `Observation` knows queues, images, the kernel and gateways. Counters are since the daemon's start.
 */
import type { Family } from '../types/config.js';

export interface Observation {
  readonly version: string;
  readonly node: string;
  readonly carrier: string;
  readonly generation: number;
  /** Of the core's memory, in use by images. */
  readonly imageBytes: number;
  readonly queues: readonly QueueObservation[];
  /** Packets: bounds of `QueueObservation.batchSizes`. */
  readonly batchBounds: readonly number[];
  /** Seconds: bounds of `QueueObservation.decisions.counts`, which has one more. */
  readonly decisionBounds: readonly number[];
  readonly flows: readonly { readonly name: string; readonly stream: string; readonly matches: number }[];
  readonly streams: readonly StreamObservation[];
  /** Every cause that a target may have. */
  readonly idleCauses: readonly string[];
  readonly rebuilds: { readonly count: number; readonly seconds: number };
  readonly looks: { readonly count: number; readonly failed: number; readonly repairs: number };
  readonly reloads: {
    readonly succeeded: number;
    readonly refused: number;
    readonly lastSucceeded: boolean;
    /** Seconds since 1970: when the configuration in force came. */
    readonly lastSuccessAt: number;
  };
  readonly bird: { readonly wanted: boolean; readonly up: boolean; readonly restarts: number };
  readonly sessions: readonly SessionObservation[];
  readonly vips: readonly { readonly prefix: string; readonly announced: boolean }[];
  /** Packets to VIPs: dropped without one of our marks, left with one, and lost between. */
  readonly passage: {
    readonly dropped: Readonly<Record<Family, number>>;
    readonly left: number;
    readonly lost: number;
  };
  /** Rules of other programs that can touch packets to VIPs; those of which there is none are absent. */
  readonly foreignRules: readonly {
    readonly hook: string;
    readonly effect: string;
    readonly count: number;
  }[];
  readonly warnings: number;
  /** That no part of the daemon expected. */
  readonly internalErrors: number;
  readonly logLinesDropped: number;
}

export interface QueueObservation {
  readonly queue: number;
  readonly bound: boolean;
  readonly restarts: number;
  readonly decided: readonly {
    readonly verdict: string;
    readonly reason: string;
    readonly packets: number;
    /** On the wire. */
    readonly bytes: number;
  }[];
  /** Batches by size. */
  readonly batchSizes: readonly number[];
  /** Batches whose decision was timed. */
  readonly decisions: {
    readonly seconds: number;
    readonly packets: number;
    readonly counts: readonly number[];
  };
  readonly verdictErrors: number;
  /** What came of fragments, by event. */
  readonly fragments: Readonly<Record<string, number>>;
  /** Fragments that wait for their first. */
  readonly fragmentsHeld: number;
  /** The kernel's own; null while the queue is not bound. */
  readonly kernel: {
    readonly depth: number;
    readonly queueDropped: number;
    readonly userDropped: number;
  } | null;
}

export interface StreamObservation {
  readonly name: string;
  readonly tableSize: number;
  readonly targets: readonly {
    readonly identifier: number;
    readonly packets: number;
    /** Slots of the table that are its own. */
    readonly slots: number;
    /** Why it takes no traffic; null: it does. */
    readonly idle: string | null;
  }[];
}

export interface SessionObservation {
  readonly gateway: string;
  readonly address: string;
  readonly family: Family;
  readonly protocol: string;
  readonly up: boolean;
  /** null: not wanted. */
  readonly bfdUp: boolean | null;
}
