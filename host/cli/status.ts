/** `magmark status`: the daemon on one screen. */
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { StatusReply } from '../control/api.js';
import { ask } from '../control/client.js';
import { socketPath } from '../control/socket.js';
import { ControlError } from '../types/errors.js';
import { cut, painted } from './color.js';
import { errorReply } from './failure.js';
import { gatewaysText, targetsText } from './listings.js';
import { tableText } from './table.js';

const WATCH_MS = 1000;
/** Cursor home and clear: the screen is written over, not scrolled. */
const CLEAR_SCREEN = '\x1b[H\x1b[2J';

const USUAL_ROWS = 24;
const USUAL_COLUMNS = 80;

export interface StatusOptions {
  readonly socket?: string;
  readonly json?: boolean;
  readonly watch?: boolean;
}

/** @throws ControlError; with `watch` at the first look alone: a daemon that is taken over from, or restarts, comes back */
export async function status({ socket, json, watch }: StatusOptions): Promise<void> {
  const path = socketPath(socket);
  const look = () => ask<StatusReply>(path, '/v1/status');
  show(await look(), json ?? false, watch ?? false);
  while (watch) {
    await pause();
    try {
      show(await look(), json ?? false, true);
    } catch (error) {
      if (!(error instanceof ControlError)) throw error;
      if (json) process.stdout.write(`${JSON.stringify(errorReply(error))}\n`);
      else process.stdout.write(`${clear()}${painted('red', error.message)}\n`);
    }
  }
}

/** Until the next look: a second, or until the terminal has another size. */
async function pause(): Promise<void> {
  const over = new AbortController();
  const { signal } = over;
  const resized = once(process.stdout, 'resize', { signal });
  await Promise.race([delay(WATCH_MS, undefined, { signal }), resized]).finally(() => over.abort());
}

function show(reply: StatusReply, json: boolean, watch: boolean): void {
  if (json) process.stdout.write(`${watch ? JSON.stringify(reply) : JSON.stringify(reply, null, 2)}\n`);
  else process.stdout.write(`${watch ? clear() : ''}${onScreen(reply)}`);
}

const clear = (): string => (process.stdout.isTTY ? CLEAR_SCREEN : '');

/** On a terminal, in as many of its lines as it has; a serial line says that it has none. */
function onScreen(reply: StatusReply): string {
  const { isTTY, rows, columns } = process.stdout;
  return isTTY ? screenText(reply, rows || USUAL_ROWS, columns || USUAL_COLUMNS) : statusText(reply);
}

/**
 * As many targets as there is room for; lines that are too long are cut. What is behind the last row is left out, but for
 * the prompt's own.
 */
export function screenText(reply: StatusReply, rows: number, columns: number): string {
  let text = '';
  for (let shown = SHOWN_TARGETS; shown >= 0; shown--) {
    text = statusText(reply, shown);
    if (text.split('\n').length <= rows) break;
  }
  const lines = text.split('\n').slice(0, Math.max(rows - 1, 1));
  return lines
    .map(line => cut(line, columns))
    .join('\n')
    .replace(/\n?$/, '\n');
}

/** What one screen has room for. */
const SHOWN_TARGETS = 15;
const SHOWN_VIPS = 6;
const SHOWN_WARNINGS = 6;
const SHOWN_CHANGES = 6;

/** The daemon on one screen: of many targets, those that take no traffic come first. */
export function statusText(status: StatusReply, mostTargets = SHOWN_TARGETS): string {
  const { bird, repairs, source, targets, vips } = status;
  const idle = targets.filter(({ pending }) => pending !== null);
  const shown = [...idle, ...targets.filter(({ pending }) => pending === null)].slice(0, mostTargets);
  const withdrawn = vips.filter(({ announced }) => !announced);
  return [
    `magmark ${status.version}, pid ${status.pid}, since ${status.startedAt}`,
    `configuration ${sourceText(status)}, ${source.at}; generation ${status.generation}`,
    ...lastChangeLines(status),
    `carrier ${status.carrier}, worker restarts ${status.workerRestarts}, mended ${repairs.count} times` +
      (repairs.lastAt === null ? '' : `, last ${repairs.lastAt}`),
    `VIPs ${shortened(
      vips.map(({ prefix }) => prefix),
      SHOWN_VIPS,
    )}` +
      (withdrawn.length === 0
        ? ''
        : `; not served: ${shortened(
            withdrawn.map(({ prefix }) => prefix),
            SHOWN_VIPS,
          )}`),
    `BIRD ${birdText(bird.status)}${bird.lastError === null ? '' : `, ${bird.restarts} restarts, last failure: ${bird.lastError}`}`,
    `${targets.length} targets, ${idle.length === 0 ? 0 : painted('red', `${idle.length}`)} of them take no traffic`,
    ...(shown.length === 0 ? [] : [targetsText({ ...status, targets: shown })]),
    ...(shown.length < targets.length ? [`and ${targets.length - shown.length} more: magmark targets`] : []),
    ...(status.gateways.length === 0 ? [] : [gatewaysText(status)]),
    queuesText(status),
    ...passageLines(status),
    ...status.warnings.slice(0, SHOWN_WARNINGS).map(warning => painted('yellow', `warning: ${warning}`)),
    ...(status.warnings.length > SHOWN_WARNINGS
      ? [`and ${status.warnings.length - SHOWN_WARNINGS} more warnings: magmark status --json`]
      : []),
    '',
  ].join('\n');
}

/** What the last reload or `apply` did; none before the first. */
function lastChangeLines({ lastChange }: StatusReply): string[] {
  if (lastChange === null) return [];
  const parts = (['added', 'removed', 'changed'] as const).flatMap(kind =>
    lastChange[kind].length === 0 ? [] : [`${kind} ${shortened(lastChange[kind], SHOWN_CHANGES)}`],
  );
  return [`last change: ${parts.length === 0 ? 'none' : parts.join('; ')}`];
}

/** What is lost on its way through this host; none where nothing was. */
function passageLines({ passage: { dropped, left, lost } }: StatusReply): string[] {
  const unmarked = dropped.ipv4 + dropped.ipv6;
  return [
    ...(unmarked === 0 ? [] : [`${unmarked} packets to VIPs dropped: they had none of our marks`]),
    ...(lost === 0 ? [] : [`${lost} packets lost after their decision, ${left} left`]),
  ].map(line => painted('red', line));
}

function birdText(status: StatusReply['bird']['status']): string {
  switch (status) {
    case 'running':
      return painted('green', status);
    case 'failed':
      return painted('red', status);
    default:
      return status;
  }
}

function sourceText({ configFile, source, state }: StatusReply): string {
  switch (source.kind) {
    case 'file':
      return source.name;
    case 'apply':
      return `applied from ${source.name}${configFile === null ? '' : ` until SIGHUP reads ${configFile}`}`;
    case 'state':
      return `kept in ${state.path} of ${source.name}, since no file was named`;
  }
}

function queuesText({ queues }: StatusReply): string {
  return tableText(
    [
      { head: 'queue', align: 'right' },
      { head: 'packets', align: 'right' },
      { head: 'batches', align: 'right' },
      { head: 'waiting', align: 'right' },
      { head: 'dropped', align: 'right' },
      { head: 'reasons' },
    ],
    queues.map(({ queue, packets, batches, depth, dropped, reasons }) => [
      queue,
      packets,
      batches,
      depth,
      dropped,
      Object.entries(reasons)
        .map(([name, count]) => `${name} ${count}`)
        .join(', '),
    ]),
  );
}

function shortened(words: readonly string[], most: number): string {
  const more = words.length - most;
  return more > 0 ? `${words.slice(0, most).join(', ')} and ${more} more` : words.join(', ');
}
