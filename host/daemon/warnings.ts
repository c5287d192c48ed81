/** What the daemon warns of: each part as it was found last, all together as status shows them. Each is logged when it is new. */
import { configWarnings } from '../config/resolve.js';
import type { Config } from '../types/config.js';
import type { Log } from './log.js';

/** Parts that are found at different times. */
export interface WarningParts {
  /** Of the kernel, by the last look. */
  look: readonly string[];
  /** VIPs whose packets the kernel delivers elsewhere. */
  local: readonly string[];
  /** Optional tables that nft refused. */
  ruleset: readonly string[];
  /** Repairs that do not help, and things that others change again and again. */
  repairs: readonly string[];
  /** Rules of other programs that can touch packets to VIPs. */
  foreign: readonly string[];
  /** Who tracks connections where fragments are tracked. */
  fragments: readonly string[];
  /** VIPs to which main has no route. */
  main: readonly string[];
  /** What keeps gateways from being used. */
  gateways: readonly string[];
  /** Of packets that the guard dropped, or that did not leave. */
  passage: readonly string[];
  /** Of the image that the workers decide by. */
  image: readonly string[];
  /** That the file was not brought about when it was read last; told in the log by who read it. */
  refused: readonly string[];
  /** Directories on the way to the file that cannot be watched. */
  watch: readonly string[];
  /** Of the configuration that is kept on disk. */
  kept: readonly string[];
}

export class Warnings {
  /** As they were found. */
  private held: readonly string[] = [];
  private readonly parts: WarningParts = {
    look: [],
    local: [],
    ruleset: [],
    foreign: [],
    repairs: [],
    fragments: [],
    main: [],
    gateways: [],
    passage: [],
    image: [],
    refused: [],
    watch: [],
    kept: [],
  };
  private ofConfig: { readonly config: Config; readonly lines: readonly string[] } | null = null;

  constructor(
    private readonly log: Log,
    /** Those that hold at the moment at which they are asked for. */
    private readonly momentary: () => readonly string[] = () => [],
  ) {}

  /** All that hold. */
  get lines(): readonly string[] {
    return [...this.held, ...this.momentary()];
  }

  /** Found, and not told before `tell`. */
  find(parts: Partial<WarningParts>): void {
    Object.assign(this.parts, parts);
  }

  /** @param config that is in force */
  tell(config: Config): void {
    // They follow from the configuration alone, and each look tells them.
    if (this.ofConfig?.config !== config) this.ofConfig = { config, lines: configWarnings(config) };
    const {
      look,
      ruleset,
      repairs,
      foreign,
      fragments,
      main,
      gateways,
      passage,
      image,
      refused,
      kept,
      local,
      watch,
    } = this.parts;
    const logged = new Set([...this.held, ...refused]);
    this.held = [
      ...refused,
      ...local,
      ...passage,
      ...this.ofConfig.lines,
      ...look,
      ...ruleset,
      ...repairs,
      ...foreign,
      ...fragments,
      ...main,
      ...gateways,
      ...image,
      ...watch,
      ...kept,
    ];
    for (const line of this.held) if (!logged.has(line)) this.log.warn(line);
  }
}
