/** Lines that BIRD writes to stderr, for our log. */
import { printable } from '../types/text.js';
import type { FrontendLog } from './wanted.js';

const LINE = /^(?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? )?<(?<class>[A-Z]+)> (?<text>.*)$/;

type Level = keyof FrontendLog;

/** Classes of BIRD's messages (User's Guide, option `log`). */
const LEVELS: Readonly<Record<string, Level>> = {
  DBG: 'debug',
  TRACE: 'debug',
  INFO: 'info',
  RMT: 'warn',
  WARN: 'warn',
  AUTH: 'warn',
  ERR: 'error',
  BUG: 'error',
  FATAL: 'error',
};
/** How BIRD says at the level FATAL that it did what it was told. */
const ORDERLY = 'Shutdown completed';

export interface Message {
  readonly level: Level;
  readonly text: string;
}

/** What has no class was written before BIRD's log was open, and says why it cannot start. */
export function readMessage(raw: string): Message {
  const line = printable(raw);
  const groups = LINE.exec(line)?.groups;
  if (groups === undefined) return { level: 'error', text: line };
  const text = groups.text!;
  return { level: text === ORDERLY ? 'info' : (LEVELS[groups.class!] ?? 'warn'), text };
}
