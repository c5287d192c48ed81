/** The end of what was under way when the daemon was told to stop. */
export class Stopped extends Error {}

/** @throws Stopped if nothing further shall be done */
export function proceed(stop: AbortSignal): void {
  if (stop.aborted) throw new Stopped('stopped');
}
