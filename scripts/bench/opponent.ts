/** The decision in C: compiled for this machine into a folder of its own, run over the core's memory written to a file. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Core } from '../../host/core/wasm.js';
import { EnvironmentError } from '../../host/types/errors.js';
import type { Workload } from './workload.js';

const SOURCE = fileURLToPath(new URL('../../../scripts/bench/core.c', import.meta.url));
const OUTPUT_BYTES = 64 * 1024 * 1024;

/** Where things stand in the memory, from the core itself. */
function definitions({ Region, Layout, Limit }: Core): string[] {
  const numbers = {
    CONTROL_GENERATION: Region.Control + Layout.ControlGeneration,
    HEADERS: Region.Headers,
    HEADER_SIZE: Region.HeaderSize,
    WORKERS: Region.Workers,
    WORKER_SIZE: Region.WorkerSize,
    WORKER_STATE: Region.WorkerState,
    WORKER_REASONS: Region.WorkerReasons,
    WORKER_DESCRIPTORS: Region.WorkerDescriptors,
    WORKER_FLOW_COUNTERS: Region.WorkerFlowCounters,
    WORKER_TARGET_COUNTERS: Region.WorkerTargetCounters,
    WORKER_BATCH_SIZES: Region.WorkerBatchSizes,
    REASONS: Limit.Reasons,
    DESCRIPTOR_BYTES: Layout.DescriptorBytes,
    HEADER_BYTES: Layout.HeaderBytes,
    FLOW_BYTES: Layout.FlowBytes,
    STREAM_BYTES: Layout.StreamBytes,
    CIDR_BYTES: Layout.CidrBytes,
    RANGE_BYTES: Layout.RangeBytes,
    BYTE_MATCH_BYTES: Layout.ByteMatchBytes,
    READ_BYTES: Limit.ReadBytes,
    WIRE_BYTES: Limit.WireBytes,
    EXTENSION_HEADERS: Limit.ExtensionHeaders,
    BATCH: Limit.Batch,
  };
  return Object.entries(numbers).map(([name, value]) => `-D${name}=${value}`);
}

export class Opponent {
  private constructor(
    private readonly folder: string,
    /** What the compiler calls itself. */
    readonly compiler: string,
  ) {}

  /** @throws EnvironmentError if there is no C compiler, or it refuses */
  static compile(core: Core): Opponent {
    const folder = mkdtempSync(join(tmpdir(), 'magmark-bench-'));
    try {
      execFileSync(
        'cc',
        [
          '-O3',
          '-std=gnu11',
          '-Wall',
          '-Wextra',
          '-Werror',
          ...definitions(core),
          '-o',
          join(folder, 'core'),
          SOURCE,
        ],
        {
          encoding: 'utf8',
          stdio: 'pipe',
        },
      );
      const [compiler = 'cc'] = execFileSync('cc', ['--version'], { encoding: 'utf8' }).split('\n');
      return new Opponent(folder, compiler);
    } catch (error) {
      rmSync(folder, { recursive: true });
      throw new EnvironmentError(`cc -O3 ${SOURCE} failed: ${(error as Error).message}`);
    }
  }

  /** Keep a copy of the workload's memory, for the calls that follow. */
  load(workload: Workload): void {
    writeFileSync(this.image(workload), touched(workload.memory));
  }

  /** Throw the copy away. */
  unload(workload: Workload): void {
    rmSync(this.image(workload));
  }

  /** Nanoseconds for `batches` batches. */
  measure(workload: Workload, batches: number): number {
    return Number(this.run(workload, String(batches)).toString('utf8'));
  }

  /** The descriptors of all areas with its answers. */
  descriptors(workload: Workload): Buffer {
    return this.run(workload, 'check');
  }

  close(): void {
    rmSync(this.folder, { recursive: true });
  }

  private image({ flows, family, shape }: Pick<Workload, 'flows' | 'family' | 'shape'>): string {
    return join(this.folder, `${shape}-${family}-${flows}.memory`);
  }

  private run(workload: Workload, what: string): Buffer {
    return execFileSync(join(this.folder, 'core'), [this.image(workload), String(workload.areas), what], {
      maxBuffer: OUTPUT_BYTES,
    });
  }
}

/** Without the end of it that nobody has written to. */
function touched(memory: WebAssembly.Memory): Uint8Array {
  const words = new Int32Array(memory.buffer);
  let count = words.length;
  while (count > 0 && words[count - 1] === 0) count--;
  return new Uint8Array(memory.buffer, 0, count * Int32Array.BYTES_PER_ELEMENT);
}
