/** Decides one batch over and over and reports what does not belong to one generation. */
import { workerData } from 'node:worker_threads';
import { instantiateCore, workerArea } from '../../host/core/wasm.js';

const { module, memory, results } = workerData as {
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
  results: Int32Array;
};
const core = instantiateCore(module, memory);
const area = workerArea(core, 0);
const view = new DataView(memory.buffer);

function loop(): void {
  for (;;) {
    // The flag is read first, so that one whole batch follows the last image.
    const last = Atomics.load(results, 2) !== 0;
    core.decide(area, 0, core.Limit.Batch);
    const descriptors = area + core.Region.WorkerDescriptors;
    const mark = view.getUint32(descriptors + core.Layout.DescriptorMark, true);
    for (let n = 0; n < core.Limit.Batch; n++) {
      const at = descriptors + n * core.Region.DescriptorSize;
      const accepted = view.getUint32(at + core.Layout.DescriptorVerdict, true) === 1;
      if (!accepted || view.getUint32(at + core.Layout.DescriptorMark, true) !== mark)
        Atomics.add(results, 1, 1);
    }
    core.rest(area);
    Atomics.add(results, 0, 1);
    Atomics.store(results, 3, mark);
    if (last) return;
  }
}

loop();
