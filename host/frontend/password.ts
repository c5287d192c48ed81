/** Passwords of BGP sessions: the first line of a file each. */
import type { BgpGateway, Gateway } from '../types/config.js';
import { ConfigError, EnvironmentError } from '../types/errors.js';
import { readRegularFile } from '../util/regular-file.js';

/** TCP_MD5SIG_MAXKEYLEN of linux/tcp.h. */
const MAX_BYTES = 80;
/** A file of this size holds no password. */
const MOST_FILE_BYTES = 64 * 1024;

/**
 * @returns passwords by the gateway's name
 * @throws EnvironmentError where a file cannot be read, ConfigError where its first line is no password; both name
 *   gateway and file, and none quotes what the file holds
 */
export async function readPasswords(gateways: readonly Gateway[]): Promise<Map<string, string>> {
  const passwords = new Map<string, string>();
  const faults: string[] = [];
  for (const gateway of gateways) {
    if (gateway.protocol !== 'bgp' || gateway.passwordFile === null) continue;
    const line = await firstLine(gateway, gateway.passwordFile);
    const fault = faultOf(line);
    if (fault === null) passwords.set(gateway.name, line);
    else faults.push(`gateway ${gateway.name}: the password in ${gateway.passwordFile} ${fault}`);
  }
  if (faults.length > 0) throw new ConfigError(faults);
  return passwords;
}

async function firstLine(gateway: BgpGateway, file: string): Promise<string> {
  try {
    const text = await readRegularFile(file, { mostBytes: MOST_FILE_BYTES });
    return text.split(/\r?\n/, 1)[0]!;
  } catch (error) {
    throw new EnvironmentError(
      `gateway ${gateway.name}: cannot read password file ${file}: ${(error as Error).message}`,
      {
        cause: error,
      },
    );
  }
}

function faultOf(password: string): string | null {
  const bytes = Buffer.byteLength(password);
  if (bytes === 0) return 'is empty: its first line is taken';
  if (bytes > MAX_BYTES) return `has ${bytes} bytes, ${MAX_BYTES} are possible`;
  // BIRD's texts have no way to write a quote; U+FFFD is what bytes that are no UTF-8 became.
  if (/["\p{Cc}\ufffd]/u.test(password))
    return 'holds a quote, a control character or bytes that are no UTF-8';
  return null;
}
