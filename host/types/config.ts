/**
 * The configuration after validation: one plain value, the whole desired state in Meridio's terms. It imports nothing.
 * The text form, with its defaults, is defined in `../config/schema.ts`.
 */

/** IP version: 4 or 6. */
export type Family = 4 | 6;

/** A network prefix with its host bits cleared, for example 20.0.0.0/24; `address` in canonical text (RFC 5952 for IPv6). */
export interface Prefix {
  readonly family: Family;
  readonly address: string;
  /** Prefix length in bits, 0..32 or 0..128. */
  readonly length: number;
}

/** Transport ports, both ends included, host order, 1..65535. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

export type Protocol = 'tcp' | 'udp' | 'sctp';

/** One statement about the bytes of a transport header: `(bytes[offset, offset + width) & mask) == value`, big-endian. */
export interface ByteMatch {
  /** The statement as it was written, for listings. */
  readonly text: string;
  readonly protocol: Protocol;
  /** Bytes from the start of the transport header. */
  readonly offset: number;
  readonly width: 1 | 2 | 4;
  /** u32; 0xffffffff where the statement has no mask or a mask of 0. */
  readonly mask: number;
  /** u32 */
  readonly value: number;
}

/** One member of a stream's pool. */
export interface Target {
  /** 1..maxTargets; the index in the Maglev table is `identifier - 1`. */
  readonly identifier: number;
  /** Firewall mark of its packets and number of its routing table: the stream's `fwmarkOffset + identifier`. */
  readonly fwmark: number;
  /** Next hops, at most one a family. */
  readonly ips: readonly Host[];
}

/** One address of a host. */
export interface Host {
  readonly family: Family;
  readonly address: string;
}

/** A pool of targets with one Maglev table. */
export interface Stream {
  readonly name: string;
  readonly maxTargets: number;
  /** Asked size of the Maglev table; the largest prime not above it is taken. */
  readonly tableSize: number;
  readonly fwmarkOffset: number;
  /** In the order of the file. */
  readonly targets: readonly Target[];
  /** null: targets are taken to serve as long as they can be reached. */
  readonly healthCheck: HealthCheck | null;
}

/** A match rule that hands packets to a stream. An absent condition (empty array) matches all. */
export interface Flow {
  readonly name: string;
  readonly stream: string;
  /** Larger wins; equal ones by their order in the file. */
  readonly priority: number;
  readonly protocols: readonly Protocol[];
  readonly vips: readonly Prefix[];
  readonly sourceSubnets: readonly Prefix[];
  readonly destinationPortRanges: readonly PortRange[];
  readonly sourcePortRanges: readonly PortRange[];
  readonly byteMatches: readonly ByteMatch[];
  /** UDP destination port that carries SCTP for this flow, or null. */
  readonly udpEncapPort: number | null;
}

/** Bidirectional forwarding detection (RFC 5880) of one gateway. */
export interface Bfd {
  readonly minRxMs: number;
  readonly minTxMs: number;
  /** Packets in a row that may be missing: the session is down after this many intervals. */
  readonly multiplier: number;
}

interface GatewayBase {
  readonly name: string;
  /** One session or route each. */
  readonly ips: readonly Host[];
  /** null: none. */
  readonly bfd: Bfd | null;
}

/** Its address is the next hop of what leaves; the VIPs' way in is the gateway's own business. */
export interface StaticGateway extends GatewayBase {
  readonly protocol: 'static';
}

/** BGP session (RFC 4271): the VIPs go to the gateway, its default route comes here. */
export interface BgpGateway extends GatewayBase {
  readonly protocol: 'bgp';
  /** 32 bits (RFC 6793). */
  readonly localAsn: number;
  readonly remoteAsn: number;
  readonly localPort: number;
  readonly remotePort: number;
  /** Seconds, 3..65535 or 0: no keepalives. */
  readonly holdTimeSeconds: number;
  /** File whose first line is the password of the session (TCP MD5, RFC 2385); null: none. */
  readonly passwordFile: string | null;
}

export type Gateway = StaticGateway | BgpGateway;

/** Clients see `port` at the VIPs, targets serve `targetPort`. */
export interface PortNat {
  readonly port: number;
  readonly targetPort: number;
  readonly protocol: Protocol;
  readonly vips: readonly Prefix[];
}

/** How a stream's targets are asked whether they serve; they are asked through their own routes. */
export interface HealthCheck {
  readonly type: 'icmp' | 'tcp' | 'http';
  /** Of the target; null for `icmp`. */
  readonly port: number | null;
  /** Path of a GET that must be answered with 200 to 399; null but for `http`. */
  readonly path: string | null;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** Answers in a row that make a target healthy, and failures in a row that make it unhealthy. */
  readonly rise: number;
  readonly fall: number;
}

/** Hash of SCTP packets: over the ports alone (all paths of an association meet), or over the five-tuple. */
export type HashMode = 'sctp-ports' | 'five-tuple';

/** `kernel`: it puts them together before the queue. `track`: each is queued as it comes and follows its first. */
export type FragmentMode = 'kernel' | 'track';

/** Where something listens. */
export interface ListenAddress {
  /** null: on all addresses of this host. */
  readonly host: Host | null;
  readonly port: number;
}

export interface Config {
  /** Netfilter queue numbers, both ends included; one worker thread each. */
  readonly queues: { readonly first: number; readonly last: number };
  /** Packets that the kernel keeps in one queue before it drops. */
  readonly queueLength: number;
  /** Mark that leads packets into the queues where the kernel lacks nftables' `queue`. */
  readonly queueMark: number;
  /** Bits of the packet's mark that are ours: all our marks fit it, and the other bits stay as they come. */
  readonly markMask: number;
  /** How long a worker tries again and again before it sleeps, while packets come closer together than that. */
  readonly queueSpinMicroseconds: number;
  readonly interfaces: {
    /** Towards the gateways, or null. */
    readonly external: string | null;
    /** Towards the targets: names or prefixes that end in `*`. */
    readonly internal: readonly string[];
  };
  readonly vips: readonly Prefix[];
  readonly gateways: readonly Gateway[];
  /** What leaves goes over all gateways that are up; false: over the first of them in the order of the file. */
  readonly ecmp: boolean;
  /** BGP identifier as a dotted quad; null: derived from this host's addresses. */
  readonly routerId: string | null;
  readonly portNats: readonly PortNat[];
  readonly streams: readonly Stream[];
  readonly flows: readonly Flow[];
  readonly hashMode: HashMode;
  readonly fragments: FragmentMode;
  /** How long the decision of a first fragment is remembered, and a later one held until it comes. */
  readonly fragmentTimeoutMs: number;
  readonly promiscuousPing: boolean;
  /** Mark of packets that no flow matches; null: they are dropped. */
  readonly noFlowFwmark: number | null;
  /** Mark of packets whose stream has no active target; null: they are dropped. */
  readonly noTargetsFwmark: number | null;
  /** How long a stop goes on forwarding after the VIPs were withdrawn. */
  readonly shutdownDelayMs: number;
  /** The applied ruleset is written there too; null: nowhere. */
  readonly rulesetFile: string | null;
  /** Where Prometheus is answered, and who asks for health; null: nowhere. */
  readonly metrics: ListenAddress | null;
}
