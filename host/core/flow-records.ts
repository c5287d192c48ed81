/** Match rules as the core reads them: FlowRecord[] and the arrays that they point to. Off the hot path. */
import { unitedRanges } from '../types/address.js';
import type { ByteMatch, Flow, PortRange, Protocol } from '../types/config.js';
import { maskWord, WORDS } from './address-words.js';
import { firstWord, type Networks, networksOf } from './networks.js';
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

/** A flow whose addresses are networks, the fewest, ascending; an empty list takes all. */
export interface ListedFlow extends FlowRecord {
  readonly destinations: Uint32Array;
  readonly sources: Uint32Array;
}

export interface ListedFlows {
  readonly networks: Networks;
  readonly flows: readonly ListedFlow[];
}

export function listedFlows(records: readonly FlowRecord[]): ListedFlows {
  const { networks, lists } = networksOf(
    records.flatMap(({ conditions }) => [conditions.vips, conditions.sourceSubnets]),
  );
  return {
    networks,
    flows: records.map((record, index) => ({
      ...record,
      destinations: lists[2 * index]!,
      sources: lists[2 * index + 1]!,
    })),
  };
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
  { networks, flows }: ListedFlows,
  allocate: Allocate,
): Place {
  return new Writer(core, memory, networks, allocate).flows(flows);
}

class Writer {
  private readonly bytes: Uint8Array;
  private readonly view: DataView;

  constructor(
    private readonly core: Core,
    memory: WebAssembly.Memory,
    private readonly networks: Networks,
    private readonly allocate: Allocate,
  ) {
    this.bytes = new Uint8Array(memory.buffer);
    this.view = new DataView(memory.buffer);
  }

  flows(records: readonly ListedFlow[]): Place {
    const { Layout, Protocols } = this.core;
    const bits: Record<Protocol, number> = { tcp: Protocols.Tcp, udp: Protocols.Udp, sctp: Protocols.Sctp };
    const address = this.allocate(records.length * Layout.FlowBytes);
    records.forEach(({ conditions, stream, counter, encapPort, destinations, sources }, index) => {
      const at = address + index * Layout.FlowBytes;
      this.bytes.fill(0, at, at + Layout.FlowBytes);
      this.word(
        at + Layout.FlowProtocols,
        conditions.protocols.reduce((sum, protocol) => sum | bits[protocol], 0),
      );
      this.word(at + Layout.FlowStream, stream);
      this.word(at + Layout.FlowCounter, counter);
      this.word(at + Layout.FlowEncapPort, encapPort);
      this.array(at + Layout.FlowDestinations, this.cidrs(destinations));
      this.array(at + Layout.FlowSources, this.cidrs(sources));
      this.array(at + Layout.FlowDestinationPorts, this.ranges(conditions.destinationPortRanges));
      this.array(at + Layout.FlowSourcePorts, this.ranges(conditions.sourcePortRanges));
      this.array(at + Layout.FlowByteMatches, this.byteMatches(conditions.byteMatches));
    });
    return { address, count: records.length };
  }

  /** CidrRecord[] of the networks: address and mask, in network order. */
  private cidrs(list: Uint32Array): Place {
    const { CidrBytes } = this.core.Layout;
    const address = this.allocate(list.length * CidrBytes);
    for (let index = 0; index < list.length; index++) {
      const network = list[index]!;
      const at = address + index * CidrBytes;
      for (let word = 0; word < WORDS; word++) {
        this.view.setUint32(at + 4 * word, firstWord(this.networks, network, word), false);
        this.view.setUint32(at + 4 * (WORDS + word), maskWord(this.networks.lengths[network]!, word), false);
      }
    }
    return { address, count: list.length };
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
