import t from 'tap';
import { linesOf, ReplyReader, refusalOf } from '../../host/frontend/reply.js';

const LISTING = `0001 BIRD 2.0.12 ready.
2002-Name       Proto      Table      State  Since         Info
1002-device1    Device     ---        up     2026-11-24 15:19:23.131  
1006-
1002-kernel1    Kernel     master4    up     2026-11-24 15:19:23.131  
1006-  Channel ipv4
     State:          UP
+asynchronous
 
0000 
8002 bird.conf:3:9 syntax error
`;
const REPLIES = [
  [{ code: 1, text: 'BIRD 2.0.12 ready.' }],
  [
    { code: 2002, text: 'Name       Proto      Table      State  Since         Info' },
    { code: 1002, text: 'device1    Device     ---        up     2026-11-24 15:19:23.131  ' },
    { code: 1006, text: '' },
    { code: 1002, text: 'kernel1    Kernel     master4    up     2026-11-24 15:19:23.131  ' },
    { code: 1006, text: '  Channel ipv4' },
    { code: 1006, text: '    State:          UP' },
    { code: 1006, text: '' },
    { code: 0, text: '' },
  ],
  [{ code: 8002, text: 'bird.conf:3:9 syntax error' }],
];

t.test('replies are put together, wherever the stream is cut', async t => {
  for (const size of [1, 2, 7, LISTING.length]) {
    const reader = new ReplyReader();
    const replies = [];
    for (let at = 0; at < LISTING.length; at += size)
      replies.push(...reader.push(LISTING.slice(at, at + size)));
    t.strictSame(replies, REPLIES, `pieces of ${size}`);
    t.equal(reader.pending, 0);
  }
});

t.test('codes from 8000 on are a refusal, in the words of BIRD', async t => {
  t.equal(refusalOf(REPLIES[1]!), null);
  t.equal(refusalOf(REPLIES[2]!), 'bird.conf:3:9 syntax error');
  t.strictSame(linesOf(REPLIES[1]!, 1006), ['', '  Channel ipv4', '    State:          UP', '']);
});

t.test('a line that BIRD does not speak is told', async t => {
  for (const line of ['HTTP/1.1 400 Bad Request', ' continues nothing', '', '12 short', '0000'])
    t.throws(() => new ReplyReader().push(`${line}\n`), {
      code: 'CONTROL_FAILED',
      message: /^not a line of BIRD/,
    });
});
