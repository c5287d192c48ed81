/**
 * The process, by the names that Prometheus' clients share. prom-client's own set is left out: it watches garbage
 * collection and the event loop all the time.
 */
import { type MetricFamily, sample } from './family.js';

const STARTED_AT = performance.timeOrigin / 1000;
const MICROSECONDS = 1e6;

export const PROCESS_FAMILIES: readonly MetricFamily[] = [
  {
    name: 'process_cpu_user_seconds_total',
    help: 'CPU time of all threads in user mode.',
    type: 'counter',
    samples: () => [sample(process.cpuUsage().user / MICROSECONDS)],
  },
  {
    name: 'process_cpu_system_seconds_total',
    help: 'CPU time of all threads in the kernel.',
    type: 'counter',
    samples: () => [sample(process.cpuUsage().system / MICROSECONDS)],
  },
  {
    name: 'process_cpu_seconds_total',
    help: 'CPU time of all threads.',
    type: 'counter',
    samples: () => {
      const { user, system } = process.cpuUsage();
      return [sample((user + system) / MICROSECONDS)];
    },
  },
  {
    name: 'process_resident_memory_bytes',
    help: 'Resident memory.',
    type: 'gauge',
    samples: () => [sample(process.memoryUsage.rss())],
  },
  {
    name: 'process_start_time_seconds',
    help: 'When the process started, in seconds since 1970.',
    type: 'gauge',
    samples: () => [sample(STARTED_AT)],
  },
];
