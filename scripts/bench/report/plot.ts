/** Plots as SVG, drawn by gnuplot. */
import { execFileSync } from 'node:child_process';
import { EnvironmentError } from '../../../host/types/errors.js';
import type { Plot } from './figure.js';

/**
 * @returns the SVG's text
 * @throws EnvironmentError with what gnuplot said
 */
export function drawn(plot: Plot): string {
  try {
    return execFileSync('gnuplot', ['-'], { input: program(plot), encoding: 'utf8', stdio: 'pipe' });
  } catch (error) {
    throw new EnvironmentError(`gnuplot could not draw ${plot.name}: ${(error as Error).message}`);
  }
}

/** @returns what gnuplot is told */
export function program({ title, x, y, logarithmic, curves }: Plot): string {
  const axes = [...(logarithmic.x ? ['x'] : []), ...(logarithmic.y ? ['y'] : [])];
  return [
    'set terminal svg size 800,480 dynamic background "white" font "sans-serif,14"',
    'set encoding utf8',
    `set title ${quoted(title)} noenhanced`,
    `set xlabel ${quoted(x)} noenhanced`,
    `set ylabel ${quoted(y)} noenhanced`,
    ...axes.map(axis => `set logscale ${axis} 10`),
    // From 0, so that twice as high is twice as much.
    ...(logarithmic.y ? [] : ['set yrange [0:*]']),
    'set grid',
    'set key outside right noenhanced',
    ...curves.map(({ points }, index) =>
      [`$curve${index} << END`, ...points.map(([at, value]) => `${at} ${value}`), 'END'].join('\n'),
    ),
    `plot ${curves
      .map(({ name }, index) => `$curve${index} using 1:2 with linespoints linewidth 2 title ${quoted(name)}`)
      .join(', ')}`,
    '',
  ].join('\n');
}

/** In single quotes gnuplot knows one special character, the quote, which is doubled. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "''").replaceAll('\n', ' ')}'`;
}
