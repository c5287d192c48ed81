import t from 'tap';
import { judge, type TargetHealth, unknownHealth } from '../../host/health/verdict.js';

const COUNTS = { rise: 2, fall: 3 };

/** What each check made of a target: `+` answered, `-` failed. Time is the number of the check. */
function history(checks: string, counts = COUNTS): TargetHealth[] {
  let health = unknownHealth(0);
  return [...checks].map((check, index) => {
    health = judge(health, check === '+' ? null : `failure ${index + 1}`, counts, index + 1);
    return health;
  });
}

const LETTERS = { unknown: '?', healthy: 'H', unhealthy: 'U' };
const healths = (checks: string, counts = COUNTS): string =>
  history(checks, counts)
    .map(({ health }) => LETTERS[health])
    .join('');

t.test('the first check of all makes a target healthy if it is answered', async t => {
  t.strictSame(history('+'), [{ health: 'healthy', reason: null, since: 1, answers: 1, failures: 0 }]);
});

t.test('after a failure it takes rise answers in a row', async t => {
  t.equal(healths('-++'), '??H');
  t.equal(healths('-+-+-++'), '??????H', 'a failure between begins anew');
});

t.test('it takes fall failures in a row, neither fewer nor more, to make a target unhealthy', async t => {
  t.equal(healths('+--+--+---'), 'HHHHHHHHHU');
  t.equal(healths('---'), '??U', 'also one that was never healthy');
  t.equal(healths('---+-++'), '??UUUUH', 'and rise answers to make it healthy again');
});

t.test('counts of one judge each check for itself', async t => {
  t.equal(healths('+-+-', { rise: 1, fall: 1 }), 'HUHU');
});

t.test('the last failure is told until a healthy target answers again', async t => {
  const told = history('+-+---++').map(({ reason }) => reason);
  t.strictSame(told, [null, 'failure 2', null, 'failure 4', 'failure 5', 'failure 6', 'failure 6', null]);
});

t.test('since is when the health became what it is, and the counts go up to the last check', async t => {
  const last = history('+++----').at(-1);
  t.strictSame(last, { health: 'unhealthy', reason: 'failure 7', since: 6, answers: 0, failures: 4 });
});
