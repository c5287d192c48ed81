/** Whether a BFD that could not open its ports has a reason to try again. */
import { createSocket } from 'node:dgram';
import type { Family } from '../types/config.js';
import type { SessionState } from './session.js';
import { FAMILIES } from './wanted.js';

/** RFC 5881, section 4. */
const PORT = 3784;

/**
 * - `all-up`: nothing is missing;
 * - `waits`: sessions of a family are up, which a restart would end, and the port of no other family is free;
 * - `retry`: a restart ends no session, or can open a port that was in use.
 */
export type BfdOutlook = 'all-up' | 'waits' | 'retry';

/** @param isFree whether no program has the port, BIRD included */
export async function bfdOutlook(
  sessions: readonly SessionState[],
  isFree: (family: Family) => Promise<boolean> = isPortFree,
): Promise<BfdOutlook> {
  const wanted = sessions.filter(({ bfd }) => bfd !== 'none');
  const up = wanted.filter(({ bfd }) => bfd === 'up');
  if (up.length === wanted.length) return 'all-up';
  if (up.length === 0) return 'retry';
  for (const family of FAMILIES) {
    const isDown =
      wanted.some(session => session.family === family) && up.every(each => each.family !== family);
    if (isDown && (await isFree(family))) return 'retry';
  }
  return 'waits';
}

function isPortFree(family: Family): Promise<boolean> {
  const socket = createSocket({ type: family === 4 ? 'udp4' : 'udp6', ipv6Only: family === 6 });
  return new Promise(resolve => {
    socket.once('error', () => {
      socket.close();
      resolve(false);
    });
    socket.bind({ port: PORT, exclusive: true }, () => socket.close(() => resolve(true)));
  });
}
