/** The benchmarks that there are. */
import type { ClassifierReport } from '../classifier.js';
import type { CliReport } from '../cli.js';
import type { CoreReport } from '../core.js';
import type { QueueReport } from '../queue/report.js';
import type { RulesReport } from '../rules.js';
import type { TargetsReport } from '../targets.js';
import { classifierSection } from './classifier.js';
import { cliSection } from './cli.js';
import { decisionSections } from './decision.js';
import type { Section } from './figure.js';
import { ladderSection, queueSections } from './queue.js';
import { rulesSection } from './rules.js';
import { targetsSection } from './targets.js';

/** One benchmark, a script beside this folder. */
export interface Part {
  readonly name: string;
  /** `core`: scripts/bench/core.ts. */
  readonly script: string;
  readonly options: readonly string[];
  /** For people: on an idle machine. */
  readonly takes: string;
  /** Options that make it short and worthless. */
  readonly quick: readonly string[];
  /** @param report what it printed with --json */
  readonly sections: (report: unknown) => Section[];
  /** What is wrong with what was measured, a missed target aside; null: nothing. */
  readonly fault: (report: unknown) => string | null;
}

/** Its benchmark is of the same build: what it prints is what its type says. */
function part<Report>(
  name: string,
  takes: string,
  quick: readonly string[],
  sections: (report: Report) => Section[],
  fault: (report: Report) => string | null = () => null,
): Part {
  return {
    name,
    script: name,
    options: [],
    takes,
    quick,
    sections: report => sections(report as Report),
    fault: report => fault(report as Report),
  };
}

export const PARTS: readonly Part[] = [
  part(
    'core',
    '4 minutes',
    ['--rounds', '2', '--sample-ms', '1', '--loop-packets', '200000', '--most-flows', '100'],
    decisionSections,
    ({ ok }: CoreReport) => (ok ? null : 'Wasm and C decide differently, or the loop makes garbage'),
  ),
  part(
    'classifier',
    '1 minute',
    ['--pairs', '200000'],
    (report: ClassifierReport) => [classifierSection(report)],
    ({ faults }: ClassifierReport) => (faults.length === 0 ? null : faults.join('; ')),
  ),
  part('queue', '7 minutes', ['--rounds', '1', '--sample-ms', '50'], queueSections),
  {
    ...part('ladder', '5 minutes', ['--rounds', '1', '--sample-ms', '20'], (report: QueueReport) => [
      ladderSection(report),
    ]),
    script: 'queue',
    options: ['--ladder', '--rounds', '5', '--sample-ms', '200'],
  },
  part('rules', '3 minutes', ['--rounds', '1', '--targets', '1,100'], (report: RulesReport) => [
    rulesSection(report),
  ]),
  part(
    'targets',
    '1 minute',
    ['--rounds', '1', '--sample-ms', '50', '--targets', '1,100'],
    (report: TargetsReport) => [targetsSection(report)],
  ),
  part('cli', '1 minute', ['--rounds', '1'], (report: CliReport) => [cliSection(report)]),
];
