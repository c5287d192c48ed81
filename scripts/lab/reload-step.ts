/** The step of the demonstration in which the configuration changes under open connections. */
import { readFileSync, writeFileSync } from 'node:fs';
import { connections } from './connections.js';
import { FAMILIES, TCP_PORT } from './plan.js';
import type { Prediction } from './prediction.js';
import type { Scene } from './steps.js';
import type { Connection } from './syn.js';

/** Connections a family. */
const KEPT_CONNECTIONS = 100;
/** The target that is removed and added again. */
export const REMOVED = 62;

export interface ReloadFigures {
  readonly established: number;
  /** Echoed before, during and after. */
  readonly survived: number;
  /** Whose slot belongs to the same target throughout, says the core. */
  readonly predicted: number;
}

/** One target leaves and comes back while connections are open; those of the others must not notice more than they have to. */
export async function reload(
  scene: Scene,
  configFile: string,
  predict: (text: string) => Prediction,
): Promise<ReloadFigures> {
  const { clients, daemon, expectations, prediction, say } = scene;
  const whole = readFileSync(configFile, 'utf8');
  const without = withoutTarget(whole, REMOVED);
  const attempted: Connection[] = FAMILIES.flatMap(family =>
    connections(family, KEPT_CONNECTIONS, 30_000, TCP_PORT),
  );
  const established = (await clients.connect(attempted, true)).filter(
    answer => 'identifier' in answer,
  ).length;
  expectations.expect(
    'the connections to be kept are established',
    established === attempted.length,
    `${established} of ${attempted.length}`,
  );

  const states: boolean[][] = [await clients.echo('before\n')];
  for (const [text, word] of [
    [without, 'during'],
    [whole, 'after'],
  ] as const) {
    writeFileSync(configFile, text);
    const line = await daemon.reload();
    expectations.expect(
      `the daemon takes the file ${word === 'during' ? 'without' : 'with'} target ${REMOVED} on SIGHUP`,
      line.msg === 'reloaded',
      `${line.msg}, generation ${line.generation}`,
    );
    states.push(await clients.echo(`${word}\n`));
  }
  await clients.close();

  const survived = states[0]!.filter((_, index) => states.every(state => state[index])).length;
  const meanwhile = predict(without);
  const owners = attempted.map(each => [prediction.target(each), meanwhile.target(each)] as const);
  const predicted = owners.filter(([before, during]) => before === during).length;
  const own = owners.filter(([before]) => before === REMOVED).length;
  say(
    `  ${established} connections; ${own} were those of target ${REMOVED}, ${established - predicted - own} more moved with the table; ` +
      `echoed before ${trues(states[0]!)}, during ${trues(states[1]!)}, after ${trues(states[2]!)}`,
  );
  expectations.expect(
    'those connections survive whose slot keeps its owner, and no others',
    survived === predicted,
    `${survived} survived, ${predicted} had to, of ${established}`,
  );
  return { established, survived, predicted };
}

/** The file without the line of one target. */
export function withoutTarget(text: string, identifier: number): string {
  return text
    .split('\n')
    .filter(line => !line.includes(`identifier: ${identifier},`))
    .join('\n');
}

const trues = (values: readonly boolean[]): number => values.filter(Boolean).length;
