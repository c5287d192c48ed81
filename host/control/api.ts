/** What the daemon answers on its control socket: HTTP with JSON, version 1. Plain types, shared by server and clients. */

/** `GET /v1/flows`: in the order in which they are tried. Names are nfqlb's: `tshm-STREAM-FLOW`. */
export interface FlowReply {
  readonly name: string;
  readonly priority: number;
  readonly protocols: readonly string[];
  /** Prefixes; IPv4 as ::ffff:a.b.c.d/96+n. */
  readonly dests: readonly string[];
  readonly dports: readonly string[];
  readonly srcs: readonly string[];
  readonly sports: readonly string[];
  readonly match: readonly string[];
  /** 0: none. */
  readonly udpencap: number;
  readonly matchesCount: number;
  /** `tshm-STREAM` */
  readonly userRef: string;
}

/** `GET /v1/streams` */
export interface StreamReply {
  /** `tshm-STREAM` */
  readonly name: string;
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
  readonly configFile: string;
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
  /** `announced`: gateways by BGP are told of it. */
  readonly vips: readonly { readonly prefix: string; readonly announced: boolean }[];
  /** What others changed and the daemon mended, since it started. */
  readonly repairs: { readonly count: number; readonly changes: number; readonly lastAt: string | null };
  readonly warnings: readonly string[];
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

export interface TargetReply {
  readonly stream: string;
  readonly identifier: number;
  readonly fwmark: number;
  readonly ips: readonly string[];
  /** null: active; else why it takes no traffic. */
  readonly pending: string | null;
  /** null: it is not checked. */
  readonly health: 'unknown' | 'healthy' | 'unhealthy' | null;
}

/** Every answer that is not 200. */
export interface ErrorReply {
  readonly error: string;
}
