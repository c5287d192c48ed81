/** Colours where somebody sees them, and lines that have them. */
import { stripVTControlCharacters } from 'node:util';
import t from 'tap';
import { cut, hasColors, painted } from '../../host/cli/color.js';

t.test('a terminal that asks for none has no colours, nor has what is no terminal', async t => {
  t.equal(hasColors(true, { TERM: 'xterm' }), true);
  t.equal(hasColors(true, {}), true);
  t.equal(hasColors(true, { NO_COLOR: '' }), true, 'an empty NO_COLOR counts as none (no-color.org)');
  t.equal(hasColors(true, { NO_COLOR: '1' }), false);
  t.equal(hasColors(true, { TERM: 'dumb' }), false);
  t.equal(hasColors(false, { TERM: 'xterm' }), false);
  t.equal(painted('red', 'down', true), '\x1b[31mdown\x1b[39m');
  t.equal(painted('red', 'down', false), 'down');
});

t.test('a line is cut by what is seen of it, and its colours end', async t => {
  const line = `mmm ${painted('green', 'mmactive', true)} ${painted('red', 'down', true)} end`;
  t.equal(cut(line, 80), line);
  const plain = stripVTControlCharacters(line);
  for (let columns = 1; columns < plain.length; columns++) {
    const short = cut(line, columns);
    t.equal(stripVTControlCharacters(short), `${plain.slice(0, columns - 1)}…`);
    t.equal(short.split('\x1b[39m').length, 3, 'both colours are closed');
  }
});
