/** From a record in the core's memory to a value with names. */
import type { Image } from '../core/image.js';
import { reasonNames } from '../core/reason.js';
import type { Core } from '../core/wasm.js';
import { addressText } from '../types/address.js';
import type { CapturedTrace } from '../types/trace.js';

const NONE = 0xffffffff;
const NO_MATCH = 0xffff;
const ACCEPT = 1;
const HOLD = 2;
const LATER = 2;
/** An array of its own for each packet would take 100 bytes. */
const NO_BYTES = new Uint8Array(0);

export class RecordReader {
  private readonly reasons: readonly string[];
  private readonly protocols: ReadonlyMap<number, string>;
  private readonly view: DataView;
  private readonly bytes: Uint8Array;

  constructor(
    private readonly core: Core,
    memory: WebAssembly.Memory,
  ) {
    const { Tcp, Udp, Sctp, Icmp, Icmpv6 } = core.IpProtocol;
    this.reasons = reasonNames(core);
    this.protocols = new Map([
      [Tcp, 'tcp'],
      [Udp, 'udp'],
      [Sctp, 'sctp'],
      [Icmp, 'icmp'],
      [Icmpv6, 'icmpv6'],
    ]);
    this.view = new DataView(memory.buffer);
    this.bytes = new Uint8Array(memory.buffer);
  }

  /** Bits of the taps that want the record at `address`. */
  taps(address: number): number {
    return this.view.getUint32(address + this.core.Layout.RecordTaps, true);
  }

  generation(address: number): number {
    return this.view.getUint32(address + this.core.Layout.RecordGeneration, true);
  }

  /** Number of the Tracing by which it was wanted. */
  tracing(address: number): number {
    return this.view.getUint32(address + this.core.Layout.RecordTracing, true);
  }

  /** As the worker told it. */
  time(address: number): number {
    return this.view.getFloat64(address + this.core.Layout.RecordTime, true);
  }

  /** Index of the flow of tap `tap` that matched; null: none is needed. */
  matched(address: number, tap: number): number | null {
    const index = this.view.getUint16(address + this.core.Layout.RecordMatched + tap * 2, true);
    return index === NO_MATCH ? null : index;
  }

  /** Bytes of the packet that are there, `snapLength` at most. */
  captured(address: number, snapLength: number): number {
    return Math.min(this.view.getUint32(address + this.core.Layout.RecordCaptured, true), snapLength);
  }

  /**
   * A copy of the record at `address`, with at most `snapLength` bytes of the packet.
   * @param image that of its generation
   */
  read(
    address: number,
    image: Image,
    snapLength: number,
  ): Omit<CapturedTrace, 'queue' | 'timeUs' | 'traceFlow'> {
    const { Layout } = this.core;
    const word = (field: number) => this.view.getUint32(address + field, true);
    const flow = word(Layout.RecordFlow);
    const stream = word(Layout.RecordStream);
    const target = word(Layout.RecordTarget);
    const protocol = this.view.getUint16(address + Layout.RecordProtocol, true);
    const text = (field: number) => addressText(this.bytes.subarray(address + field, address + field + 16));
    const port = (field: number) => this.view.getUint16(address + field);
    const packetAt = address + Layout.RecordPacket;
    const captured = this.captured(address, snapLength);
    return {
      sequence: word(Layout.RecordSequence),
      flow: flow === NONE ? null : image.flows[flow]!.name,
      stream: stream === NONE ? null : image.streams[stream]!.stream.name,
      identifier: target === NONE ? null : target + 1,
      fwmark: word(Layout.RecordVerdict) === ACCEPT ? word(Layout.RecordMark) : null,
      reason: this.reasons[word(Layout.RecordReason)]!,
      hash: flow === NONE ? null : word(Layout.RecordHash),
      protocol: this.protocols.get(protocol) ?? `${protocol}`,
      source: text(Layout.RecordSource),
      sourcePort: port(Layout.RecordSourcePort),
      destination: text(Layout.RecordDestination),
      destinationPort: port(Layout.RecordDestinationPort),
      inner: word(Layout.RecordInner) !== 0,
      fragment: fragmentOf(word(Layout.RecordFragment), word(Layout.RecordVerdict)),
      length: word(Layout.RecordWireLength),
      // A copy: the ring's bytes are the worker's again in a moment.
      packet: captured === 0 ? NO_BYTES : this.bytes.slice(packetAt, packetAt + captured),
    };
  }
}

function fragmentOf(fragment: number, verdict: number): CapturedTrace['fragment'] {
  if (fragment === 0) return null;
  if (verdict === HOLD) return 'held';
  return fragment === LATER ? 'later' : 'first';
}
