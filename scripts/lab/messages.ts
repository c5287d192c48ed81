/** What clients, targets and the demonstration say to each other. */
import type { Connection } from './syn.js';

/** What a target says of a datagram, as JSON. */
export interface DatagramAnswer {
  readonly identifier: number;
  readonly bytes: number;
  /** Hexadecimal. */
  readonly sha256: string;
}

/** A target's first line on a TCP connection. */
export const greeting = (identifier: number): string => `target ${identifier}\n`;
export const GREETING = /^target ([0-9]+)\n/;

/** A line to the client program; it answers each with a ClientReply of the same number. */
export type ClientRequest =
  | { readonly kind: 'connect'; readonly connections: readonly Connection[]; readonly keep: boolean }
  | { readonly kind: 'echo'; readonly text: string }
  | { readonly kind: 'close' }
  | { readonly kind: 'datagrams'; readonly datagrams: readonly Connection[]; readonly bytes: number }
  | { readonly kind: 'ping'; readonly pings: readonly Ping[] }
  | { readonly kind: 'fragments' };

export interface Ping {
  readonly source: string;
  readonly destination: string;
  readonly count: number;
}

export type ClientReply =
  | { readonly number: number; readonly result: unknown }
  | { readonly number: number; readonly error: string };

/** How a connection began: who answered, or why nobody did. */
export type Answer = { readonly identifier: number } | { readonly error: string };

/** What came back for a datagram; intact: length and digest are those of what was sent. */
export type DatagramResult =
  | { readonly identifier: number; readonly intact: boolean }
  | { readonly error: string };

/** Fragments that this namespace made of its own packets since it exists: `FragCreates` of RFC 4293. */
export interface FragmentCounts {
  readonly ipv4: number;
  readonly ipv6: number;
}
