/**
 * An independent, strict reader of Prometheus' text format 0.0.4, after its documentation: what it accepts, Prometheus
 * accepts. Besides the format it checks the naming conventions that `promtool check metrics` checks.
 */

export interface ReadSample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface ReadFamily {
  readonly type: string;
  readonly help: string;
  readonly samples: ReadSample[];
}

const NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*';
const HELP = new RegExp(`^# HELP (${NAME}) (\\S.*)$`);
const TYPE = new RegExp(`^# TYPE (${NAME}) (counter|gauge|histogram|summary|untyped)$`);
const SAMPLE = new RegExp(`^(${NAME})(?:\\{(.*)\\})? (\\S+)$`);
const LABEL = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)/;
const VALUE = /^(?:[+-]?(?:\d+\.?\d*(?:e[+-]?\d+)?|\.\d+)|[+-]Inf|NaN)$/i;
const PARTS: Readonly<Record<string, readonly string[]>> = {
  histogram: ['_bucket', '_sum', '_count'],
  summary: ['', '_sum', '_count'],
};

/** @throws Error with the line that is wrong */
export function readExposition(text: string): Map<string, ReadFamily> {
  if (!text.endsWith('\n')) throw new Error('the last line has no end');
  const families = new Map<string, ReadFamily>();
  const helps = new Map<string, string>();
  const seen = new Set<string>();
  let current = '';
  for (const line of text.slice(0, -1).split('\n')) {
    const fail = (why: string): never => {
      throw new Error(`${why}: ${line}`);
    };
    if (line === '') continue;
    const help = HELP.exec(line);
    if (help !== null) {
      if (helps.has(help[1]!)) fail('a second HELP');
      helps.set(help[1]!, help[2]!);
      continue;
    }
    const type = TYPE.exec(line);
    if (type !== null) {
      current = type[1]!;
      if (families.has(current)) fail('a second TYPE');
      families.set(current, {
        type: type[2]!,
        help: helps.get(current) ?? fail('no HELP before'),
        samples: [],
      });
      continue;
    }
    const [, name = '', labelText = '', value = ''] = SAMPLE.exec(line) ?? fail('no sample');
    const family = families.get(current) ?? fail('no TYPE before');
    const parts = PARTS[family.type] ?? [''];
    if (!parts.some(part => name === current + part)) fail(`a sample among those of ${current}`);
    if (!VALUE.test(value)) fail('no value');
    const labels = readLabels(labelText, fail);
    const series = `${name} ${JSON.stringify(Object.entries(labels).sort())}`;
    if (seen.has(series)) fail('a second time');
    seen.add(series);
    family.samples.push({ name, labels, value: Number(value.replace(/Inf$/i, 'Infinity')) });
  }
  for (const [name, family] of families) checkFamily(name, family);
  return families;
}

function readLabels(text: string, fail: (why: string) => never): Record<string, string> {
  const labels: Record<string, string> = {};
  for (let rest = text; rest !== ''; ) {
    const [whole, name, value] = LABEL.exec(rest) ?? fail('no label');
    if (name! in labels) fail(`label ${name} twice`);
    labels[name!] = value!.replace(/\\(.)/g, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped));
    rest = rest.slice(whole!.length);
  }
  return labels;
}

/** https://prometheus.io/docs/practices/naming, and what a histogram must be. */
function checkFamily(name: string, { type, samples }: ReadFamily): void {
  if ((type === 'counter') !== name.endsWith('_total'))
    throw new Error(`${name}: only counters end in _total`);
  if (/_(?:bucket|count|sum)$/.test(name)) throw new Error(`${name}: that end belongs to parts`);
  if (/counter|gauge|histogram|summary/.test(name)) throw new Error(`${name}: a type in a name`);
  if (/(?:^|_)(?:milli|micro|nano)?(?:ms|us|ns|milliseconds|minutes|kilobytes|kb)(?:_|$)/.test(name))
    throw new Error(`${name}: no base unit`);
  for (const { value } of samples)
    if (type === 'counter' && !(value >= 0 && Number.isFinite(value))) throw new Error(`${name}: ${value}`);
  if (type === 'histogram') checkHistogram(name, samples);
}

function checkHistogram(name: string, samples: readonly ReadSample[]): void {
  const groups = new Map<string, { last: number; bound: number; count?: number; sum?: number }>();
  for (const { name: part, labels, value } of samples) {
    const { le, ...others } = labels;
    const key = JSON.stringify(others);
    const group = groups.get(key) ?? { last: 0, bound: Number.NEGATIVE_INFINITY };
    groups.set(key, group);
    if (part === `${name}_count`) group.count = value;
    else if (part === `${name}_sum`) group.sum = value;
    else {
      const bound = Number(le?.replace('Inf', 'Infinity'));
      if (!(bound > group.bound) || value < group.last)
        throw new Error(`${name}${key}: bucket ${le} falls back`);
      Object.assign(group, { bound, last: value });
    }
  }
  for (const [key, { last, bound, count, sum }] of groups)
    if (bound !== Number.POSITIVE_INFINITY || count !== last || sum === undefined)
      throw new Error(`${name}${key}: +Inf, _count and _sum do not fit`);
}

/** Sum of the samples that have these labels; 0 where none has. */
export function total(
  families: ReadonlyMap<string, ReadFamily>,
  name: string,
  labels: Readonly<Record<string, string | number>> = {},
): number {
  const family = families.get(name) ?? families.get(name.replace(/_(?:bucket|sum|count)$/, ''));
  return (family?.samples ?? [])
    .filter(sample => sample.name === name)
    .filter(sample => Object.entries(labels).every(([key, value]) => sample.labels[key] === String(value)))
    .reduce((sum, { value }) => sum + value, 0);
}
