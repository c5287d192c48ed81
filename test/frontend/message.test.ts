import t from 'tap';
import { readMessage } from '../../host/frontend/message.js';

t.test("BIRD's classes of messages become levels", async t => {
  const rows: [line: string, level: string, text: string][] = [
    ['2026-11-24 15:19:24.071 <WARN> a: Missing link-local address', 'warn', 'a: Missing link-local address'],
    ['2026-11-24 15:19:24.071 <RMT> a: Received: Cease', 'warn', 'a: Received: Cease'],
    ['<ERR> a: Socket error', 'error', 'a: Socket error'],
    ['2026-11-24 15:19:24 <INFO> Started', 'info', 'Started'],
    ['2026-11-24 15:19:24 <TRACE> a: State changed to up', 'debug', 'a: State changed to up'],
    ['2026-11-24 15:19:34.986 <FATAL> Shutdown completed', 'info', 'Shutdown completed'],
    ['2026-11-24 15:19:34.986 <FATAL> I give up', 'error', 'I give up'],
    ['<RMT> a: Received: \x1b[2J\x9b', 'warn', 'a: Received: \\u001b[2J\\u009b'],
    ['bird: bird.conf:20:128 syntax error', 'error', 'bird: bird.conf:20:128 syntax error'],
  ];
  for (const [line, level, text] of rows) t.strictSame(readMessage(line), { level, text });
});
