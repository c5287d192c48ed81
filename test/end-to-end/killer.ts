/**
 * Kills a daemon at a chosen step. The programs that it starts stand first in its PATH as scripts: each counts those calls
 * that change the kernel, and at call N has the daemon killed, before, amid or after doing what was asked.
 */
import { execFileSync } from 'node:child_process';
import { appendFileSync, chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * - `before`: the program does nothing;
 * - `amid`: it does the first half of its batch;
 * - `after`: it does all, and nobody hears of it.
 */
export type Moment = 'before' | 'amid' | 'after';

export interface Step {
  /** Number of the call, from 1. */
  readonly number: number;
  readonly moment: Moment;
}

/** Calls that change rules, routes, tables or BIRD, as patterns of a shell for `ARGUMENTS`; others pass uncounted. */
const CHANGES: Readonly<Record<string, string>> = {
  ip: '*"-force -batch"*|*" flush "*',
  nft: '"-j -f -"|"delete "*',
  'iptables-nft-restore': '--noflush',
  'ip6tables-nft-restore': '--noflush',
  // BIRD's launcher; it lives on, so `after` is when it has had time to start.
  setpriv: '*" bird "*',
};

/** A batch whose first line asks, or is about neighbours, changes nothing that is compared. */
function script(program: string, pattern: string, directory: string): string {
  const found = execFileSync('sh', ['-c', `PATH="$PATH:/usr/sbin:/sbin"; command -v ${program}`], {
    encoding: 'utf8',
  });
  return `#!/bin/sh
real=${found.trim()}
case "$*" in
  ${pattern}) ;;
  *) exec $real "$@" ;;
esac
[ -e ${directory}/armed ] || exec $real "$@"
input=
if [ ${program} != setpriv ]; then input=$(cat); fi
case "$input" in
  "route get "*|"neigh "*) printf '%s\\n' "$input" | $real "$@"; exit ;;
esac
echo "${program} $*" >>${directory}/calls
read number moment victim <${directory}/armed
if [ "$(wc -l <${directory}/calls)" -lt "$number" ]; then
  if [ ${program} = setpriv ]; then exec $real "$@"; fi
  printf '%s\\n' "$input" | $real "$@"
  exit
fi
if [ -n "$victim" ]; then
  kill -9 "$victim"
  if [ ${program} = setpriv ]; then exec $real "$@"; fi
  printf '%s\\n' "$input" | $real "$@"
  exit
fi
daemon=$PPID
# Between the daemon and BIRD stands its guard.
if [ ${program} = setpriv ]; then daemon=$(cut -d ' ' -f 4 /proc/$PPID/stat); fi
case $moment in
  amid) printf '%s\\n' "$input" | head -n $(($(printf '%s\\n' "$input" | wc -l) / 2)) | $real "$@" ;;
  after)
    if [ ${program} = setpriv ]; then (sleep 0.1; kill -9 $daemon) & exec $real "$@"; fi
    printf '%s\\n' "$input" | $real "$@" ;;
esac
kill -9 $daemon
`;
}

export class Killer {
  constructor(private readonly directory: string) {
    mkdirSync(directory);
    for (const [program, pattern] of Object.entries(CHANGES)) {
      writeFileSync(join(directory, program), script(program, pattern, directory));
      chmodSync(join(directory, program), 0o755);
    }
  }

  /** For the daemon. */
  get environment(): Record<string, string> {
    return { PATH: `${this.directory}:${process.env.PATH}` };
  }

  /**
   * From now on calls are counted, from 1.
   * @param victim  pid of who is killed before call N instead of who makes it; the call is made then
   */
  arm({ number, moment }: Step, victim?: number): void {
    writeFileSync(this.file('calls'), '');
    appendFileSync(this.file('armed'), '');
    writeFileSync(this.file('armed'), `${number} ${moment} ${victim ?? ''}\n`);
  }

  /** Count calls, and kill nobody. */
  count(): void {
    this.arm({ number: Number.MAX_SAFE_INTEGER, moment: 'before' });
  }

  /** Calls are no longer counted. @returns those that were, with their arguments */
  disarm(): string[] {
    rmSync(this.file('armed'), { force: true });
    return readFileSync(this.file('calls'), 'utf8').split('\n').slice(0, -1);
  }

  private file(name: string): string {
    return join(this.directory, name);
  }
}

/** Each step of a change that made `calls`; only a batch has a middle. */
export function stepsOf(calls: readonly string[]): Step[] {
  return calls.flatMap((call, index) => {
    const moments: Moment[] = call.includes('-force -batch')
      ? ['before', 'amid', 'after']
      : ['before', 'after'];
    return moments.map(moment => ({ number: index + 1, moment }));
  });
}
