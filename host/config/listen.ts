/** Where to listen, in text: `127.0.0.1:9273`, `[::1]:9273`, or `:9273` for all addresses. */
import type { ListenAddress } from '../types/config.js';
import { shown } from '../types/text.js';
import { parseHost } from './address.js';

/** @returns the address, or the fault as a string */
export function parseListenAddress(text: string): ListenAddress | string {
  const match = /^(?:\[(?<six>[^\]]*)\]|(?<four>[^:[\]]*)):(?<port>[0-9]{1,5})$/.exec(text);
  if (match === null) return wrong(text);
  const { six, four = '', port } = match.groups!;
  const number = Number(port);
  if (number < 1 || number > 65535) return `${shown(text)} has no port from 1 to 65535`;
  if (six === undefined && four === '') return { host: null, port: number };
  const host = parseHost(six ?? four);
  if (typeof host === 'string') return `${wrong(text)}; ${host}`;
  if (host.family !== (six === undefined ? 4 : 6)) return wrong(text);
  return { host, port: number };
}

function wrong(text: string): string {
  return `${shown(text)} is no address to listen on: write "127.0.0.1:9273", "[::1]:9273", or ":9273" for all addresses`;
}
