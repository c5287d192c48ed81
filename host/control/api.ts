/** What the daemon answers on its control socket: HTTP with JSON, version 1. Plain types, shared by server and clients. */
import type { FlowChange, StreamChange } from '../config/change.js';
import type { ConfigChanges } from '../config/changes.js';
import type { FragmentMode } from '../types/config.js';
import type { Difference } from '../types/difference.js';
import type { Judgement } from '../types/health.js';
import type { TracedPacket } from '../types/trace.js';

/**
 * `FlowChange`: `POST /v1/flows`, of `nfqlb flowlb` alone, and `POST /v1/trace-flows`, which packets `GET /v1/trace-text`
 * tells of: those have no target. Answered with `{}`. `StreamChange`: `POST /v1/streams`, of `nfqlb flowlb` alone.
 */
export type { FlowChange, StreamChange };

/** What a flow asks of a packet. Absent conditions are empty lists. */
export interface FlowConditionsReply {
  readonly priority: number;
  readonly protocols: readonly string[];
  /** Prefixes. */
  readonly dests: readonly string[];
  readonly dports: readonly string[];
  readonly srcs: readonly string[];
  readonly sports: readonly string[];
  readonly match: readonly string[];
  /** 0: none. */
  readonly udpencap: number;
}

/** `GET /v1/flows`: in the order in which they are tried, as the configuration names and writes them. */
export interface FlowReply extends FlowConditionsReply {
  /** `#NAME`: the hidden flow that finds SCTP inside UDP. */
  readonly name: string;
  readonly stream: string;
  readonly matchesCount: number;
}

/** `GET /v1/nfqlb/flows`, `GET /v1/trace-flows`: as nfqlb names and writes them. IPv4 prefixes are ::ffff:a.b.c.d/96+n. */
export interface NfqlbFlowReply extends FlowConditionsReply {
  /** `tshm-STREAM-FLOW` of `magmark run`. */
  readonly name: string;
  readonly matchesCount: number;
  /** `tshm-STREAM`; `NULL` of a hidden flow; null of a trace flow. */
  readonly userRef: string | null;
}

/** To `POST /v1/streams`. */
export interface StreamChangeReply {
  /** Of the stream as it is now: the prime that was taken. */
  readonly tableSize: number;
  /** Marks of an activation without index that found no free one. */
  readonly left: readonly number[];
}

/** `GET /v1/nfqlb/slot?stream=NAME&hash=N`; the name is nfqlb's. */
export interface SlotReply {
  readonly slot: number;
  /** -1: nobody is there. */
  readonly index: number;
  readonly fwmark: number;
}

/** `GET /v1/fragments`: what the workers remember of fragments, and what came of them, in sum. */
export interface FragmentsReply {
  /** First fragments that can be remembered. */
  readonly tableSize: number;
  readonly timeoutMs: number;
  /** That can be held at one time. */
  readonly mostHeld: number;
  /** First fragments that were remembered; whose set had others then; that took the place of one still wanted; of one that was not. */
  readonly tracked: number;
  readonly collided: number;
  readonly evicted: number;
  readonly reused: number;
  /** Later fragments, and those of them that were held. */
  readonly later: number;
  readonly held: number;
  /** That were dropped since their first did not come, or was inside an ICMP error only. */
  readonly discarded: number;
}

/** `GET /v1/loglevel`, and `POST /v1/loglevel` of `nfqlb flowlb`. */
export interface LogLevel {
  /** syslog's: 3 error, 4 warning, 5 notice, 6 information, 7 debug. */
  readonly level: number;
}

/** `GET /v1/streams`: by the names of the configuration. */
export interface StreamReply {
  readonly name: string;
  readonly tableSize: number;
  readonly maxTargets: number;
  /** Packets for its targets, also for those that are inactive now. */
  readonly packets: number;
  readonly active: readonly (ShareReply & { readonly identifier: number; readonly fwmark: number })[];
}

/** What one target of a stream gets. */
export interface ShareReply {
  /** Packets that it was chosen for. */
  readonly packets: number;
  /** Part of the stream's packets, 0 to 1; null: there is none yet. */
  readonly packetShare: number | null;
  /** Part of the slots of the stream's table, 0 to 1. */
  readonly slotShare: number;
}

/** `GET /v1/nfqlb/streams` */
export interface NfqlbStreamReply {
  /** `tshm-STREAM` of `magmark run`. */
  readonly name: string;
  /** nfqlb's `--ownfw`. */
  readonly own: number;
  readonly tableSize: number;
  readonly maxTargets: number;
  /** First 25 slots: index of the target, -1 where nobody is. */
  readonly lookup: readonly number[];
  readonly active: readonly { readonly index: number; readonly fwmark: number }[];
}

/** `GET /v1/status` */
export interface StatusReply {
  readonly version: string;
  readonly pid: number;
  readonly startedAt: string;
  /** null: `magmark run` without one. */
  readonly configFile: string | null;
  /**
   * file: read at start, by SIGHUP or since it changed; apply: sent by `magmark apply`, until the file is read again;
   * state: no file was named, and what was applied last was kept of the file `name`.
   */
  readonly source: { readonly kind: 'file' | 'apply' | 'state'; readonly name: string; readonly at: string };
  /** Names of what the last reload or `apply` added, removed and changed, at most 20 of each kind; null: none since the start. */
  readonly lastChange: ConfigChanges | null;
  /** What a start without a file will use; `keptAt` null: nothing of this run; `fault` null: it is what is in force. */
  readonly state: { readonly path: string; readonly keptAt: string | null; readonly fault: string | null };
  readonly generation: number;
  readonly carrier: 'nft' | 'xtables';
  readonly queues: readonly QueueReply[];
  readonly workerRestarts: number;
  readonly targets: readonly TargetReply[];
  readonly gateways: readonly {
    readonly name: string;
    readonly protocol: string;
    readonly ips: readonly string[];
    /** One for each address; none while BIRD has not told yet. */
    readonly sessions: readonly SessionReply[];
  }[];
  readonly bird: {
    /** off: no gateways. */
    readonly status: 'off' | 'starting' | 'running' | 'failed';
    readonly pid: number | null;
    readonly restarts: number;
    readonly lastError: string | null;
  };
  /** `announced`: the daemon announces it to gateways by BGP. `lost`: why packets to it, or to a part of it, reach no target; null: they do. */
  readonly vips: readonly {
    readonly prefix: string;
    readonly announced: boolean;
    readonly lost: string | null;
  }[];
  /** Packets to VIPs, since the daemon started, as of the last 10 s. */
  readonly passage: {
    /** That had none of our marks: the host forwards none of them. */
    readonly dropped: { readonly ipv4: number; readonly ipv6: number };
    /** That left this host with a target's mark. */
    readonly left: number;
    /** That got a target's mark and did not leave, more than usual. */
    readonly lost: number;
  };
  /** What others changed and the daemon mended, since it started. */
  readonly repairs: { readonly count: number; readonly changes: number; readonly lastAt: string | null };
  readonly warnings: readonly string[];
}

/** `POST /v1/apply`: text of a configuration, with its name in the query. */
export interface ApplyReply {
  readonly generation: number;
  readonly warnings: readonly string[];
}

/** `POST /v1/reload`: the daemon reads its file again, as with SIGHUP. */
export interface ReloadReply extends ApplyReply {
  readonly file: string;
  /** As `StatusReply.lastChange`. */
  readonly lastChange: StatusReply['lastChange'];
}

/**
 * `GET /v1/diff`: the configuration in force against the kernel; `POST /v1/diff`: the configuration of the body, with its
 * name in the query, against the kernel and the configuration in force. Nothing is changed.
 */
export type DiffReply = readonly Difference[];
export type { Difference };

/** `GET /v1/explain?packet=tcp 192.0.2.1:1234 > 20.0.0.1:80` */
export interface ExplainReply {
  readonly packet: string;
  readonly reason: string;
  readonly flow: string | null;
  readonly stream: string | null;
  readonly hash: number | null;
  readonly tableSize: number | null;
  readonly slot: number | null;
  readonly identifier: number | null;
  /** null: the packet is dropped. */
  readonly fwmark: number | null;
  /** The VIP that holds the destination; null: the packet never reaches magmark. */
  readonly vip: string | null;
  /** Where the kernel sends the answer of the target, from the VIP to the client; null: offline, or no target answers. */
  readonly back: {
    readonly table: number | null;
    readonly via: string | null;
    readonly device: string | null;
    /** The kernel's answer where it has no route. */
    readonly error: string | null;
  } | null;
  /** Where the kernel sends what bears the mark; null: offline, or dropped. */
  readonly route: {
    /** Where the kernel found the route; null: nowhere. */
    readonly table: number | null;
    readonly via: string | null;
    readonly device: string | null;
    /** As the kernel lists the neighbour, null where it has none. */
    readonly neighbour: string | null;
    /** Why it reaches no target: this host itself takes it, or drops it; null: it does. */
    readonly local: string | null;
    /** The kernel's answer where it has no route. */
    readonly error: string | null;
  } | null;
  readonly tried: readonly {
    readonly name: string;
    readonly priority: number;
    readonly stream: string;
    /** null: it matches. */
    readonly misses: string | null;
  }[];
  /** Flows behind the one that matched. */
  readonly notAsked: number;
  /** What becomes of the packet where it comes in fragments, in words. */
  readonly fragments: {
    readonly mode: FragmentMode;
    readonly first: string;
    readonly later: string;
  };
  /** Targets of the stream that take no traffic, and why. */
  readonly idle: readonly { readonly target: string; readonly reason: string }[];
}

export interface SessionReply {
  readonly address: string;
  /** Packets can go there. */
  readonly up: boolean;
  readonly bfd: 'up' | 'down' | 'none';
  /** ISO 8601; null: BIRD does not run. */
  readonly since: string | null;
  /** BIRD's words. */
  readonly info: string;
}

export interface QueueReply {
  readonly queue: number;
  readonly packets: number;
  readonly bytes: number;
  readonly batches: number;
  /** Waiting in the kernel. */
  readonly depth: number;
  /** Dropped because the queue was full, or because the receive buffer was. */
  readonly dropped: number;
  /** Packets by reason, those above 0. */
  readonly reasons: Readonly<Record<string, number>>;
}

export interface TargetReply extends ShareReply {
  readonly stream: string;
  readonly identifier: number;
  readonly fwmark: number;
  readonly ips: readonly string[];
  /** null: active; else why it takes no traffic. */
  readonly pending: string | null;
  /** null: it is not checked. */
  readonly health: 'unknown' | 'healthy' | 'unhealthy' | null;
}

/** `GET /v1/health`: alive, and `GET /v1/ready`: packets can be sent; status 503 where a condition does not hold. */
export type HealthReply = Judgement;

/** One line of `GET /v1/trace`: first `reader`, last `end`. */
export type TraceLine =
  /** Whom `POST /v1/trace/end` ends. */
  | { readonly type: 'reader'; readonly reader: number }
  /** `packet`: its first bytes, base64; absent where none were asked for. */
  | ({ readonly type: 'packet'; readonly packet?: string } & TracedPacket)
  /** Packets that were wanted and are not told, so far. */
  | { readonly type: 'lost'; readonly lost: number }
  | { readonly type: 'end'; readonly lost: number };

/** Every answer that is not 200, but a `HealthReply`. */
export interface ErrorReply {
  readonly error: string;
  /** Of the errors of host/types/errors.ts. */
  readonly code?: string;
  /** One line each. */
  readonly faults?: readonly string[];
}
