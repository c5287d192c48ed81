/** The least image: generation 1, no flows, every packet accepted with one mark. */
import { type Core, compileCore, createMemory, instantiateCore, workerArea } from '../../host/core/wasm.js';

/** The least memory that the module takes (initialMemory in asconfig.json): enough to ask for the layout. */
const SCOUT_BYTES = 16 * 65536;

export interface AcceptingImage {
  readonly core: Core;
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
}

/** A memory for `workers` with that image published. */
export function acceptingImage(workers: number, mark: number): AcceptingImage {
  const module = compileCore();
  const scout = instantiateCore(module, createMemory(SCOUT_BYTES));
  const memory = createMemory(workerArea(scout, workers));
  const core = instantiateCore(module, memory);
  const { Layout, Region } = core;
  const words = new DataView(memory.buffer);
  const header = Region.Headers + Region.HeaderSize;
  words.setUint32(header + Layout.HeaderGeneration, 1, true);
  words.setUint32(header + Layout.HeaderMarkNoFlow, 1, true);
  words.setUint32(header + Layout.HeaderNoFlowMark, mark, true);
  Atomics.store(new Int32Array(memory.buffer), (Region.Control + Layout.ControlGeneration) / 4, 1);
  return { core, module, memory };
}
