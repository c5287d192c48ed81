/** What samples of perf are taken for. */
import t from 'tap';
import { partOf, sharesOf } from '../../scripts/bench/queue/profile.js';

const RECEIVE = `
    ffffffff81a0c1f0 netlink_recvmsg ([kernel.kallsyms])
    ffffffff81a0c1f0 __x64_sys_recvmmsg ([kernel.kallsyms])
        7f5ab7b2f1ab recvmmsg (/usr/lib/x86_64-linux-gnu/libc.so.6)`;
const FORWARD = `
    ffffffff81a0c1f0 veth_xmit ([kernel.kallsyms])
    ffffffff81a0c1f0 nfqnl_reinject ([kernel.kallsyms])
    ffffffff81a0c1f0 __x64_sys_sendto ([kernel.kallsyms])`;
const VERDICT = `
    ffffffff81a0c1f0 nfnetlink_rcv ([kernel.kallsyms])
    ffffffff81a0c1f0 __x64_sys_sendto ([kernel.kallsyms])`;
const SHIM = `
        7f5ab7b2f1ab [unknown] (/opt/magmark/native/build/Release/nfqueue.node)
        7f5ab7b2f1ab [unknown] (/usr/bin/node)`;
const WASM = `
        7f5ab7b2f1ab [unknown] ([JIT] tid 5824)`;

t.test('a sample belongs to the system call that it is in', async t => {
  const part = (sample: string) => partOf(sample.trim().split('\n'));
  t.equal(part(RECEIVE), 'kernel: receive');
  t.equal(part(FORWARD), 'kernel: re-inject, route, forward');
  t.equal(part(VERDICT), 'kernel: take verdicts');
  t.equal(part(SHIM), 'shim');
  t.equal(part(WASM), 'Wasm and compiled JavaScript');
});

t.test('shares add up to one, the largest first', async t => {
  t.strictSame(sharesOf([RECEIVE, FORWARD, FORWARD, SHIM].map(each => each.slice(1)).join('\n\n')), [
    { part: 'kernel: re-inject, route, forward', share: 0.5 },
    { part: 'kernel: receive', share: 0.25 },
    { part: 'shim', share: 0.25 },
  ]);
  t.strictSame(sharesOf(''), []);
});
