import t from 'tap';
import { echoRequest, readEchoReply, withoutIpv4Header } from '../../host/health/echo.js';

const TOKEN = Uint8Array.from([1, 2, 3, 4, 5, 6, 7, 8]);
const bytes = (hex: string) => new Uint8Array(Buffer.from(hex.replaceAll(' ', ''), 'hex'));

t.test('a request over IPv4 has its checksum, one over IPv6 leaves it to the kernel', async t => {
  // Sum of 0800 1234 0007 0102 0304 0506 0708 is 2a4f; its complement d5b0.
  t.same(echoRequest(4, 0x1234, 7, TOKEN), bytes('0800 d5b0 1234 0007 0102 0304 0506 0708'));
  t.same(echoRequest(6, 0x1234, 7, TOKEN), bytes('8000 0000 1234 0007 0102 0304 0506 0708'));
});

t.test('a reply is read, over IPv4 if its checksum is right', async t => {
  const reply = bytes('0000 ddb0 1234 0007 0102 0304 0506 0708');
  t.same(readEchoReply(4, reply), { sequence: 7, token: TOKEN });
  for (let at = 0; at < reply.length; at++) {
    const damaged = reply.slice();
    damaged[at]! ^= 1;
    t.equal(readEchoReply(4, damaged), null, `byte ${at} is damaged`);
  }
  t.same(readEchoReply(6, bytes('8100 abcd 1234 ff07 0102 0304 0506 0708')), {
    sequence: 0xff07,
    token: TOKEN,
  });
});

t.test('what is no reply is none: requests, errors, other lengths, nothing', async t => {
  t.equal(readEchoReply(4, echoRequest(4, 1, 1, TOKEN)), null);
  t.equal(readEchoReply(6, echoRequest(6, 1, 1, TOKEN)), null);
  t.equal(readEchoReply(6, bytes('8101 0000 1234 0007 0102 0304 0506 0708')), null);
  t.equal(readEchoReply(6, bytes('8100 0000 1234 0007 0102 0304 0506')), null);
  t.equal(readEchoReply(4, new Uint8Array()), null);
});

t.test("an IPv4 header's own length tells where the message begins", async t => {
  const header = (first: number, length: number) =>
    Uint8Array.from([first, ...new Array(length - 1).fill(0)]);
  t.same(withoutIpv4Header(Uint8Array.from([...header(0x45, 20), 9])), Uint8Array.from([9]));
  t.same(withoutIpv4Header(Uint8Array.from([...header(0x46, 24), 9])), Uint8Array.from([9]));
  t.same(withoutIpv4Header(header(0x4f, 20)), new Uint8Array());
  t.same(withoutIpv4Header(new Uint8Array()), new Uint8Array());
});
