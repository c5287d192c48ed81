/** Findings as lines for people. Pure. */
import { cut, printable } from '../../types/text.js';
import type { Finding, FindingEffect } from './findings.js';

const LONGEST_RULE = 200;

/** What a rule does with packets of one kind, by its effect. */
const DEEDS: Readonly<Record<FindingEffect, (packets: string) => string>> = {
  accept: packets => `accepts ${packets} before they get into the queue, so that magmark does not see them`,
  drop: packets => `drops ${packets}`,
  queue: packets => `sends ${packets} into the queue of another program`,
  local: packets => `gives ${packets} to a program of this host`,
  take: packets => `takes ${packets} out of their way`,
  rewrite: packets => `changes the destination of ${packets}`,
  mark: packets => `changes the mark of ${packets}, so that they miss the queue or their target`,
};

/** One line: which rule of which program's table, what it does, and what helps. */
export function findingText({ effect, packets, certain, place, rule, handle }: Finding): string {
  const deed = DEEDS[effect](packets);
  const where = `${place}${rule === null ? '' : `, rule ${quoted(rule)}${handle === null ? '' : ` (handle ${handle})`}`}`;
  if (rule === null) {
    const help = `set the policy to accept, or add a rule that accepts ${packets}`;
    return `${where}: its policy ${certain ? 'drops' : 'may drop'} ${packets}: ${help}`;
  }
  return `${where} ${certain ? deed : `may match: it ${deed}`}: remove it, or except ${packets} from it`;
}

/** Any program may have written the rule. */
function quoted(rule: string): string {
  return `"${printable(cut(rule, LONGEST_RULE))}"`;
}
