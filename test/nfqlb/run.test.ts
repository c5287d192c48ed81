/** nfqlb's command line against `magmark run`: it tells, and changes nothing. */
import { readFileSync } from 'node:fs';
import t from 'tap';
import { Topology } from '../../scripts/lab/topology.js';
import { startDaemon } from '../end-to-end/lab.js';

t.setTimeout(600_000);
const topology = Topology.reserve();
t.teardown(() => topology.destroy());
try {
  await topology.create();
} catch (error) {
  await topology.destroy();
  throw error;
}

t.test('reading works, changes are refused: the file is the truth', async t => {
  const daemon = startDaemon(topology, readFileSync('scripts/lab/config.yaml', 'utf8'));
  await daemon.ready();
  const said = (words: string) => daemon.nfqlb(words.split(' '), { mayFail: true });
  const names = JSON.parse((await said('flow-list-names')).stdout) as string[];
  t.ok(names.includes('tshm-stream-a-i-flow-a-z-tcp'));
  t.match((await said(`flow-list --name=${names[0]}`)).stdout, /^\{\n {2}"name": /);
  t.match((await said('show --shm=tshm-stream-a-i')).stdout, /^Shm: tshm-stream-a-i\n {2}Fw: own=0\n/);
  t.match((await said('stats')).stdout, /"fragsDiscarded": {3}0,/);
  t.equal((await said('loglevel')).stdout, 'loglevel=5\n');
  t.match(
    (await said('fwmark --shm=tshm-stream-a-i --proto=tcp --src=10.0.0.1:5000 --dst=20.0.0.1:4000')).stdout,
    /^\{ "hash": 1919124785, "lookupindex": 449, "activeindex": \d+, "fwmark": 50\d+ \}\n$/,
  );
  t.equal((await said('trace-flow-set --name=all')).stdout, 'OK\n', 'what is traced is no part of the file');
  t.equal((await said('trace-flow-list-names')).stdout, '[\n  "all"\n]\n');

  const before = [(await said('flow-list')).stdout, (await said('show --shm=tshm-stream-a-i')).stdout];
  for (const words of [
    'init --shm=tshm-stream-a-i',
    'delete --shm=tshm-stream-a-i',
    'activate --shm=tshm-stream-a-i --index=0 5001',
    'deactivate --shm=tshm-stream-a-i --index=43',
    'loglevel 7',
  ]) {
    const { code, stdout, stderr } = await said(words);
    t.equal(code, 1, words);
    t.equal(stdout, '', words);
    t.match(stderr, /its file is the truth \(.*config\.yaml\)/, words);
  }
  for (const words of ['flow-set --name=f --target=tshm-stream-a-i', `flow-delete --name=${names[0]}`]) {
    const { code, stdout } = await said(words);
    t.equal(code, 255, words);
    t.match(stdout, /^FAIL: .*its file is the truth/, words);
  }
  t.strictSame([(await said('flow-list')).stdout, (await said('show --shm=tshm-stream-a-i')).stdout], before);
  await daemon.stop();
});
