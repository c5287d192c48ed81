/** A target answers if it accepts a connection. */
import { type Attempt, attempt } from './attempt.js';
import { attempted, type Question } from './question.js';
import { connectMarked, errorText } from './stream.js';

/** @throws EnvironmentError, KernelError where no socket is to be had */
export function askTcp(question: Question): Attempt {
  const { timeoutMs } = question.check;
  const socket = connectMarked(question);
  return attempt(timeoutMs, settle => {
    socket.once('connect', () => settle(null));
    socket.on('error', error => settle(`${attempted(question)}: ${errorText(error)}`));
    return {
      late: () => `${attempted(question)}: no answer within ${timeoutMs} ms`,
      end: () => socket.destroy(),
    };
  });
}
