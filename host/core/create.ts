/** The memory of one process: the core over it, and the images in it. */
import { ImageStore, memoryBytes } from './image.js';
import { compileCore, createMemory, instantiateCore } from './wasm.js';

/** Enough to read the layout by. */
const LAYOUT_BYTES = 0x100000;

/** Images for one worker a queue, and the module that the workers instantiate. @throws EnvironmentError */
export function createImages(queues: { readonly first: number; readonly last: number }): {
  images: ImageStore;
  module: WebAssembly.Module;
} {
  const module = compileCore();
  const workers = queues.last - queues.first + 1;
  const layout = instantiateCore(module, createMemory(LAYOUT_BYTES));
  const memory = createMemory(memoryBytes(layout, workers));
  return { images: new ImageStore(instantiateCore(module, memory), memory, workers), module };
}
