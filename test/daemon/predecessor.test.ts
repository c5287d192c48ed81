/** The running daemon, as the one sees it that takes over: here one that is in the midst of a long change. */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { HANDOVER_PATH } from '../../host/control/handover.js';
import { ControlServer, Streamed } from '../../host/control/server.js';
import { createLog } from '../../host/daemon/log.js';
import { Predecessor } from '../../host/daemon/predecessor.js';
import { Stopped } from '../../host/daemon/stopped.js';

t.test('a stop waits for no answer of the running daemon, which hears that nobody takes over', async t => {
  const directory = mkdtempSync(join(tmpdir(), 'mm-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const socketPath = join(directory, 's');
  const server = await ControlServer.start(socketPath, error => t.fail(error.message));
  t.teardown(() => server.stop());
  let gone: AbortSignal | null = null;
  const stop = new AbortController();
  server.routes = {
    [`POST ${HANDOVER_PATH}`]: request => {
      gone = request.gone;
      stop.abort();
      return new Streamed('application/x-ndjson', late(gone));
    },
  };
  const options = {
    socketPath,
    journalPath: '/j',
    stop: stop.signal,
    log: createLog('silent'),
  };
  await t.rejects(Predecessor.meet(options), new Stopped('stopped'));
  if (!gone!.aborted) await once(gone!, 'abort');
  t.pass('it heard of it');
});

async function* late(gone: AbortSignal): AsyncGenerator<string> {
  if (!gone.aborted) await once(gone, 'abort');
  yield 'nobody reads this';
}
