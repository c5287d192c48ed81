/** Binds the queues of its first argument (`0-3`) and leaves the process in the way of its second. */
import { WorkerPool } from '../../host/queue/pool.js';
import { acceptingImage } from './accepting-image.js';

const [first, last] = process.argv[2]!.split('-').map(Number) as [number, number];
const { module, memory } = acceptingImage(last - first + 1, 1);
await WorkerPool.start({ core: { module, memory }, queues: { first, last }, queueLength: 1024 });
process.stdout.write('bound\n');
const ways: Record<string, () => void> = {
  exit: () => process.exit(7),
  throw: () => {
    throw new Error('nobody catches this');
  },
  reject: () => {
    Promise.reject(new Error('nobody catches this either'));
  },
};
ways[process.argv[3]!]!();
