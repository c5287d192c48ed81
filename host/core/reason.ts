/** Names of the core's reasons: its own enum in lower case, `HeadersTooDeep` reads `headers-too-deep`. */
import type { Core } from './wasm.js';

/** Name by number. */
export function reasonNames(core: Core): readonly string[] {
  const names: string[] = [];
  for (const [key, value] of Object.entries(core.Reason)) {
    if (key !== 'Count')
      names[Number(value)] = key.replace(/(?<!^)[A-Z]/g, letter => `-${letter}`).toLowerCase();
  }
  return names;
}
