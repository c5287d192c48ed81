import { join } from 'node:path';
import t from 'tap';
import { readPasswords } from '../../host/frontend/password.js';
import { bgpGateway } from './network.js';

t.test('the first line of the file is the password', async t => {
  const directory = t.testdir({ one: 'secret word\nmore\n', two: 'p\u00e4ss\r\n', bare: 'x'.repeat(80) });
  const gateways = ['one', 'two', 'bare'].map(name =>
    bgpGateway(0, { name, passwordFile: join(directory, name) }),
  );
  const passwords = await readPasswords([...gateways, bgpGateway(0, { name: 'none' })]);
  t.strictSame(
    [...passwords],
    [
      ['one', 'secret word'],
      ['two', 'p\u00e4ss'],
      ['bare', 'x'.repeat(80)],
    ],
  );
});

t.test('a password that cannot be is told with gateway and file, and without itself', async t => {
  const rows: [content: string | Buffer, fault: RegExp][] = [
    ['', /is empty/],
    ['\nsecret', /is empty/],
    [`secret${'x'.repeat(75)}`, /has 81 bytes, 80 are possible/],
    ['sec"ret', /holds a quote/],
    ['sec\tret', /holds a quote, a control character/],
    [Buffer.from([0x73, 0xff]), /bytes that are no UTF-8/],
  ];
  for (const [content, fault] of rows) {
    const passwordFile = join(t.testdir({ file: content }), 'file');
    const reading = readPasswords([bgpGateway(0, { passwordFile })]);
    await t.rejects(reading, { code: 'CONFIG_INVALID', message: fault });
    const { message } = (await reading.catch(error => error)) as Error;
    t.ok(message.startsWith(`gateway router-0: the password in ${passwordFile} `));
    t.notMatch(message, /secret/);
  }
  await t.rejects(readPasswords([bgpGateway(0, { passwordFile: '/no/such' })]), {
    code: 'ENVIRONMENT',
    message: /^gateway router-0: cannot read password file \/no\/such: ENOENT/,
  });
});
