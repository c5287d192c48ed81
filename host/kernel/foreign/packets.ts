/** Kinds of packets that magmark forwards, as far as rules of others can tell them apart. */
import { type Interval, prefixInterval } from '../../types/address.js';
import type { Family, Prefix } from '../../types/config.js';
import { WHOLE_MARK } from '../../types/marks.js';
import type { WantedKernel } from '../wanted.js';

export interface Packets {
  readonly what: 'packets to VIPs' | 'answers of VIPs';
  readonly family: Family;
  /** null: any. */
  readonly destinations: readonly Interval[] | null;
  readonly sources: readonly Interval[] | null;
  /** Interfaces that they come in by and leave by, also as patterns; null: not known. */
  readonly inputs: readonly string[] | null;
  readonly outputs: readonly string[] | null;
  /** Marks that they can have; null: any. */
  readonly marks: readonly number[] | null;
  /** Bits of the mark that `marks` says; the others can be any. */
  readonly knownBits: number;
}

/** Marks of more targets than this are taken for any. */
const MOST_MARKS = 4096;

export function requests(wanted: WantedKernel, family: Family, marks: Packets['marks']): Packets {
  const { external, internal } = wanted.interfaces;
  return {
    what: 'packets to VIPs',
    family,
    destinations: intervalsOf(wanted.vips, family),
    sources: null,
    inputs: external === null ? null : [external],
    outputs: internal.length === 0 ? null : internal,
    marks,
    knownBits: wanted.markMask,
  };
}

export function answers(wanted: WantedKernel, family: Family): Packets {
  const { external, internal } = wanted.interfaces;
  return {
    what: 'answers of VIPs',
    family,
    destinations: null,
    sources: intervalsOf(wanted.vips, family),
    inputs: internal.length === 0 ? null : internal,
    outputs: external === null ? null : [external],
    // What targets send has no mark.
    marks: [0],
    knownBits: WHOLE_MARK,
  };
}

/** Marks that packets have after their decision. */
export function decidedMarks(wanted: WantedKernel): readonly number[] | null {
  const marks = wanted.targets.map(({ fwmark }) => fwmark);
  return marks.length > MOST_MARKS || marks.length === 0 ? null : marks;
}

function intervalsOf(vips: readonly Prefix[], family: Family): Interval[] {
  return vips.filter(vip => vip.family === family).map(prefixInterval);
}
