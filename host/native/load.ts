/** The one place where what native/*.cc became is loaded; each has one file that makes errors of what it answers. */
import { createRequire } from 'node:module';
import { EnvironmentError } from '../types/errors.js';

const FOLDER = '../../../native/build/Release';

/**
 * A shim by its name, `nfqueue`, loaded at the first call.
 * @returns a function that gives it, or throws EnvironmentError if it was not built for this machine
 */
export function nativeShim<Shim>(name: string): () => Shim {
  let loaded: Shim | undefined;
  return () => {
    if (loaded === undefined) {
      try {
        loaded = createRequire(import.meta.url)(`${FOLDER}/${name}.node`) as Shim;
      } catch (error) {
        throw new EnvironmentError(
          `load the native shim: ${(error as Error).message}; \`npm run build:native\` makes it`,
          { cause: error },
        );
      }
    }
    return loaded;
  };
}
