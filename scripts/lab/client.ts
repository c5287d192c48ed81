/**
 * The clients: one program in their namespace, steered by lines of JSON on stdin (ClientRequest with a number),
 * answering on stdout (ClientReply). It ends with its stdin.
 */
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import type {
  Answer,
  ClientReply,
  ClientRequest,
  DatagramAnswer,
  DatagramResult,
  FragmentCounts,
  Ping,
} from './messages.js';
import { GREETING } from './messages.js';
import type { Connection } from './syn.js';
import { mapBounded } from './wait.js';

/** Far above what a round trip takes on one machine; who has not answered by then does not. */
const DEADLINE_MS = 5000;
const WIDTH = 32;
const PING_WIDTH = 16;
/** What a target has to hold at once must fit its receive buffer, 208 KiB by default. */
const DATAGRAM_WIDTH = 8;

const kept: Socket[] = [];

/** Connect, and read who answers. */
function open(connection: Connection, keep: boolean): Promise<{ answer: Answer; socket: Socket }> {
  return new Promise(resolve => {
    const { source, sourcePort, destination, destinationPort } = connection;
    const socket = connect({
      host: destination,
      port: destinationPort,
      localAddress: source,
      localPort: sourcePort,
      noDelay: true,
    });
    let received = '';
    const finish = (answer: Answer): void => {
      socket.setTimeout(0).removeAllListeners('data').pause();
      if (!keep || 'error' in answer) socket.destroy();
      resolve({ answer, socket });
    };
    socket.setEncoding('latin1').setTimeout(DEADLINE_MS);
    socket.on('timeout', () => finish({ error: 'no answer' }));
    // Stays: a kept connection may be reset at any time.
    socket.on('error', error => finish({ error: error.message }));
    socket.on('end', () => finish({ error: 'closed' }));
    socket.on('data', chunk => {
      received += chunk;
      const identifier = GREETING.exec(received)?.[1];
      if (identifier !== undefined) finish({ identifier: Number(identifier) });
    });
  });
}

/** Whether `text` comes back on a kept connection. */
function echoes(socket: Socket, text: string): Promise<boolean> {
  return new Promise(resolve => {
    let received = '';
    const finish = (whole: boolean): void => {
      clearTimeout(timer);
      socket.off('data', take).off('close', lose).pause();
      resolve(whole);
    };
    const take = (chunk: string): void => {
      received += chunk;
      if (received.length >= text.length) finish(received === text);
    };
    const lose = (): void => finish(false);
    const timer = setTimeout(lose, DEADLINE_MS);
    if (socket.destroyed) return finish(false);
    socket.on('data', take).on('close', lose).resume();
    socket.write(text);
  });
}

function datagram(connection: Connection, bytes: number): Promise<DatagramResult> {
  const { family, source, sourcePort, destination, destinationPort } = connection;
  const payload = randomBytes(bytes);
  const sha256 = createHash('sha256').update(payload).digest('hex');
  return new Promise(resolve => {
    const socket = createSocket(family === 4 ? 'udp4' : 'udp6');
    const finish = (result: DatagramResult): void => {
      clearTimeout(timer);
      socket.close();
      resolve(result);
    };
    const timer = setTimeout(() => finish({ error: 'no answer' }), DEADLINE_MS);
    socket.once('error', error => finish({ error: error.message }));
    socket.once('message', message => {
      const answer = JSON.parse(message.toString('utf8')) as DatagramAnswer;
      finish({ identifier: answer.identifier, intact: answer.bytes === bytes && answer.sha256 === sha256 });
    });
    socket.bind(sourcePort, source, () => socket.send(payload, destinationPort, destination));
  });
}

/** Replies to `count` echo requests, one after the other: of several in one run `ping` waits for the last one 50 ms only. */
async function ping({ source, destination, count }: Ping): Promise<number> {
  let replies = 0;
  for (let n = 0; n < count; n++) replies += await pingOnce(source, destination);
  return replies;
}

function pingOnce(source: string, destination: string): Promise<number> {
  const argv = ['-q', '-n', '-c', '1', '-W', '5', '-I', source, destination];
  return new Promise((resolve, reject) => {
    execFile('ping', argv, (_error, stdout, stderr) => {
      const received = /([0-9]+) received/.exec(stdout)?.[1];
      if (received === undefined)
        reject(new Error(`ping ${argv.join(' ')}: ${stderr.trim() || 'no figures'}`));
      else resolve(Number(received));
    });
  });
}

function fragments(): FragmentCounts {
  const [names, values] = readFileSync('/proc/net/snmp', 'utf8')
    .split('\n')
    .filter(line => line.startsWith('Ip: '))
    .map(line => line.split(' '));
  const ipv6 = /^Ip6FragCreates\s+([0-9]+)$/m.exec(readFileSync('/proc/net/snmp6', 'utf8'))![1];
  return { ipv4: Number(values![names!.indexOf('FragCreates')]), ipv6: Number(ipv6) };
}

async function serve(request: ClientRequest): Promise<unknown> {
  switch (request.kind) {
    case 'connect': {
      const opened = await mapBounded(request.connections, WIDTH, each => open(each, request.keep));
      // In the order of the request, whoever answered first; `echo` answers in it.
      if (request.keep)
        kept.push(...opened.filter(({ answer }) => 'identifier' in answer).map(({ socket }) => socket));
      return opened.map(({ answer }) => answer);
    }
    case 'echo':
      return mapBounded(kept, kept.length, each => echoes(each, request.text));
    case 'close':
      for (const socket of kept.splice(0)) socket.destroy();
      return Promise.resolve(null);
    case 'datagrams':
      return mapBounded(request.datagrams, DATAGRAM_WIDTH, each => datagram(each, request.bytes));
    case 'ping':
      return mapBounded(request.pings, PING_WIDTH, ping);
    case 'fragments':
      return Promise.resolve(fragments());
  }
}

async function answer(line: string): Promise<void> {
  const { number, ...request } = JSON.parse(line) as ClientRequest & { number: number };
  let reply: ClientReply;
  try {
    reply = { number, result: await serve(request) };
  } catch (error) {
    reply = { number, error: (error as Error).message };
  }
  process.stdout.write(`${JSON.stringify(reply)}\n`);
}

const requests = createInterface({ input: process.stdin });
requests.on('line', line => void answer(line));
requests.on('close', () => process.exit(0));
