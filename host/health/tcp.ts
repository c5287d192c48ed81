/** A target answers if it accepts a connection. */
import { type Attempt, attempt } from './attempt.js';
import { place, type Question } from './question.js';
import { connectMarked, errorName } from './stream.js';

/** @throws EnvironmentError, KernelError where no socket is to be had */
export function askTcp(question: Question): Attempt {
  const attempted = `connect to ${place(question)} by mark ${question.fwmark}`;
  const { timeoutMs } = question.check;
  const socket = connectMarked(question);
  return attempt(timeoutMs, settle => {
    socket.once('connect', () => settle(null));
    socket.on('error', error => settle(`${attempted}: ${errorName(error)}`));
    return { late: () => `${attempted}: no answer within ${timeoutMs} ms`, end: () => socket.destroy() };
  });
}
