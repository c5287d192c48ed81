/**
 * Signals of `magmark run`, caught from the first moment on: a SIGHUP that comes while modules are still loading must not
 * end the process. Imported before everything else.
 */
export type Signal = 'SIGHUP' | 'SIGTERM' | 'SIGINT';

const SIGNALS: readonly Signal[] = ['SIGHUP', 'SIGTERM', 'SIGINT'];
const early: Signal[] = [];
let handle = (signal: Signal): void => {
  early.push(signal);
};

if (process.argv[2] === 'run') for (const signal of SIGNALS) process.on(signal, () => handle(signal));

/** From now on `handler` gets every signal, those first that came before. */
export function onSignal(handler: (signal: Signal) => void): void {
  handle = handler;
  for (const signal of early.splice(0)) handler(signal);
}
