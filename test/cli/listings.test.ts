/** What the tables of the command line say of states. */
import t from 'tap';
import { targetsText } from '../../host/cli/listings.js';
import type { StatusReply } from '../../host/control/api.js';

t.test('an active target without a health check says so', t => {
  const target = { stream: 'a', fwmark: 5001, ips: ['172.16.0.6'], pending: null };
  const text = targetsText({
    targets: [
      { ...target, identifier: 1, health: null },
      { ...target, identifier: 2, health: 'healthy' },
    ],
  } as unknown as StatusReply);
  t.match(text, /│ active \(no health check\)/);
  t.match(text, /│ active, healthy/);
  t.end();
});
