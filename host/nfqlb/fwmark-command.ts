/** `fwmark`: which hash and which mark a packet has. */
import { isIP } from 'node:net';
import type { SlotReply } from '../control/api.js';
import { addressBytes } from '../core/key.js';
import { type Command, read } from './command.js';
import { hashOf, hashOfAddresses } from './hash.js';
import { UsageError, wholeNumber } from './options.js';

const PROTOCOLS: Readonly<Record<string, number>> = { tcp: 6, udp: 17, sctp: 132 };
const MAX_PORT = 65535;

/** `20.0.0.1:80` or `[2000::1]:80`. @throws UsageError */
function endpoint(option: string, text: string): { address: Uint8Array; port: number } {
  const match = /^(?:\[([^\]]*)\]|([^:[\]]*)):([0-9]+)$/.exec(text);
  if (match === null)
    throw new UsageError(`--${option}: ${text} is not of the form 20.0.0.1:80 or [2000::1]:80`);
  const [, bracketed, plain, port] = match;
  const address = bracketed ?? plain!;
  // The package that reads configurations' addresses takes longer to load than everything else here.
  const family = isIP(address);
  if ((family !== 4 && family !== 6) || address.includes('%'))
    throw new UsageError(`--${option}: ${address} is not an IP address`);
  return {
    address: addressBytes({ family, address }),
    port: wholeNumber(`--${option}`, port!, 0, MAX_PORT),
  };
}

export const fwmarkCommand: Command = {
  usage:
    '[--shm=NAME] [--proto=tcp|udp|sctp] --src=ADDRESS:PORT --dst=ADDRESS:PORT\n  Print hash and mark of a packet',
  options: {
    shm: { help: 'name of the stream; without it the hash alone is printed' },
    proto: { help: 'tcp, udp, sctp; without it addresses alone are hashed' },
    src: { help: 'source, for example 10.0.0.1:5000 or [1000::80]:80', required: true },
    dst: { help: 'destination', required: true },
    hash_mode: { help: 'of SCTP: 0 five-tuple, 1 ports alone; default 1' },
  },
  async run(args) {
    const { values } = args;
    const source = endpoint('src', values.get('src')!);
    const destination = endpoint('dst', values.get('dst')!);
    const sctpPorts = wholeNumber('--hash_mode', values.get('hash_mode') ?? '1', 0, 1) === 1;
    const name = values.get('proto');
    const protocol = name === undefined ? null : PROTOCOLS[name.toLowerCase()];
    if (protocol === undefined) throw new UsageError(`--proto: ${name} is none of tcp, udp, sctp`);
    const addresses = { source: source.address, destination: destination.address };
    const hash =
      protocol === null
        ? hashOfAddresses(addresses)
        : hashOf(
            { ...addresses, protocol, sourcePort: source.port, destinationPort: destination.port },
            sctpPorts,
          );
    const shm = values.get('shm');
    if (shm === undefined) return { stdout: `{ "hash": ${hash} }\n` };
    const query = new URLSearchParams({ stream: shm, hash: `${hash}` });
    const { slot, index, fwmark } = await read<SlotReply>(args, `/v1/nfqlb/slot?${query}`);
    return {
      stdout: `{ "hash": ${hash}, "lookupindex": ${slot}, "activeindex": ${index}, "fwmark": ${fwmark} }\n`,
    };
  },
};
