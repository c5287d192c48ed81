/** Match rules as the core reads them: FlowRecord[] and the arrays that they point to. Off the hot path. */
import { unitedRanges } from '../types/address.js';
import type { ByteMatch, Flow, PortRange, Prefix, Protocol } from '../types/config.js';
import { LINE_LAST, LOW_HALF, networksOf } from './network.js';
import type { Core } from './wasm.js';

/** What must hold of a packet. An empty array matches all. */
export type FlowConditions = Pick<
  Flow,
  'protocols' | 'vips' | 'sourceSubnets' | 'destinationPortRanges' | 'sourcePortRanges' | 'byteMatches'
>;

/** The members of a FlowRecord; see assembly/layout.ts. */
export interface FlowRecord {
  readonly conditions: FlowConditions;
  /** Index of the stream. */
  readonly stream: number;
  /** Index of the flow's counter. */
  readonly counter: number;
  /** 0: it is no hidden flow. */
  readonly encapPort: number;
}

/** An array in the core's memory. */
export interface Place {
  readonly address: number;
  readonly count: number;
}

/** Gives the address of so many bytes. */
type Allocate = (bytes: number) => number;

/** FlowRecord[] in the order given. @throws ImageError of `allocate` */
export function writeFlowRecords(
  core: Core,
  memory: WebAssembly.Memory,
  records: readonly FlowRecord[],
  allocate: Allocate,
): Place {
  return new Writer(core, memory, allocate).flows(records);
}

class Writer {
  private readonly bytes: Uint8Array;
  private readonly view: DataView;

  constructor(
    private readonly core: Core,
    memory: WebAssembly.Memory,
    private readonly allocate: Allocate,
  ) {
    this.bytes = new Uint8Array(memory.buffer);
    this.view = new DataView(memory.buffer);
  }

  flows(records: readonly FlowRecord[]): Place {
    const { Layout, Protocols } = this.core;
    const bits: Record<Protocol, number> = { tcp: Protocols.Tcp, udp: Protocols.Udp, sctp: Protocols.Sctp };
    const address = this.allocate(records.length * Layout.FlowBytes);
    records.forEach(({ conditions, stream, counter, encapPort }, index) => {
      const at = address + index * Layout.FlowBytes;
      this.bytes.fill(0, at, at + Layout.FlowBytes);
      this.word(
        at + Layout.FlowProtocols,
        conditions.protocols.reduce((sum, protocol) => sum | bits[protocol], 0),
      );
      this.word(at + Layout.FlowStream, stream);
      this.word(at + Layout.FlowCounter, counter);
      this.word(at + Layout.FlowEncapPort, encapPort);
      this.array(at + Layout.FlowDestinations, this.cidrs(conditions.vips));
      this.array(at + Layout.FlowSources, this.cidrs(conditions.sourceSubnets));
      this.array(at + Layout.FlowDestinationPorts, this.ranges(conditions.destinationPortRanges));
      this.array(at + Layout.FlowSourcePorts, this.ranges(conditions.sourcePortRanges));
      this.array(at + Layout.FlowByteMatches, this.byteMatches(conditions.byteMatches));
    });
    return { address, count: records.length };
  }

  /** CidrRecord[] of the same addresses; what is covered by another is left out. */
  private cidrs(prefixes: readonly Prefix[]): Place {
    const { CidrBytes } = this.core.Layout;
    const networks = networksOf(prefixes);
    const address = this.allocate(networks.length * CidrBytes);
    networks.forEach(({ first, last }, index) => {
      const at = address + index * CidrBytes;
      const mask = LINE_LAST ^ first ^ last;
      [first >> 64n, first & LOW_HALF, mask >> 64n, mask & LOW_HALF].forEach((half, place) => {
        this.view.setBigUint64(at + 8 * place, half, false);
      });
    });
    return { address, count: networks.length };
  }

  /** RangeRecord[] of the same ports; what meets or touches is one. */
  private ranges(ranges: readonly PortRange[]): Place {
    const { RangeBytes } = this.core.Layout;
    const merged = unitedRanges(ranges);
    const address = this.allocate(merged.length * RangeBytes);
    merged.forEach((range, index) => {
      this.view.setUint16(address + index * RangeBytes, range.first, true);
      this.view.setUint16(address + index * RangeBytes + 2, range.last, true);
    });
    return { address, count: merged.length };
  }

  private byteMatches(matches: readonly ByteMatch[]): Place {
    const { ByteMatchBytes } = this.core.Layout;
    const { IpProtocol } = this.core;
    const numbers: Record<Protocol, number> = {
      tcp: IpProtocol.Tcp,
      udp: IpProtocol.Udp,
      sctp: IpProtocol.Sctp,
    };
    const address = this.allocate(matches.length * ByteMatchBytes);
    matches.forEach(({ protocol, offset, width, mask, value }, index) => {
      [numbers[protocol], offset, width, mask, value].forEach((word, place) => {
        this.word(address + index * ByteMatchBytes + place * 4, word);
      });
    });
    return { address, count: matches.length };
  }

  private word(at: number, value: number): void {
    this.view.setUint32(at, value, true);
  }

  /** Address and count stand side by side in every record. */
  private array(at: number, { address, count }: Place): void {
    this.word(at, count === 0 ? 0 : address);
    this.word(at + 4, count);
  }
}
