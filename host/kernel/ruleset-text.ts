/**
 * Tables as text that `nft -f` loads and that reads as `nft list ruleset`. Pure. It is made of what was applied and not of a
 * listing: nft lists raw writes as fields, and such text would load as other rules.
 */
import type { Statement } from './carrier.js';
import type { Element, NftChain, NftSet, NftTable } from './nft-table.js';

export function rulesetText(tables: readonly NftTable[]): string {
  return tables.map(tableText).join('');
}

function tableText(table: NftTable): string {
  const objects = [
    ...(table.counters ?? []).map(name => [`counter ${nameText(name)} {`, '\tpackets 0 bytes 0', '}']),
    ...table.sets.map(setLines),
    ...declarationOrder(table.chains).map(chainLines),
  ];
  const renamed = [...table.sets, ...table.chains].some(({ name }) => nameText(name) !== name)
    ? [
        `# nft -f reads no name that begins with a digit: "${PREFIX}" is before it here, and in the kernel it is not.`,
      ]
    : [];
  const body = objects.map(lines => lines.map(line => `\t${line}\n`).join('')).join('\n');
  return `${renamed.map(line => `${line}\n`).join('')}table inet ${table.name} {\n${body}}\n`;
}

const PREFIX = 'nat-';

function nameText(name: string): string {
  return /^\d/.test(name) ? `${PREFIX}${name}` : name;
}

/** A chain that others jump to precedes them: nft reads from top to bottom. */
function declarationOrder(chains: readonly NftChain[]): NftChain[] {
  return [...chains.filter(({ hook }) => hook === null), ...chains.filter(({ hook }) => hook !== null)];
}

function setLines({ name, type, elements }: NftSet): string[] {
  const isMark = type === 'mark';
  return [
    `set ${nameText(name)} {`,
    `\ttype ${type}`,
    '\tflags interval',
    ...(elements.length === 0
      ? []
      : [`\telements = { ${elements.map(element => elementText(element, isMark)).join(', ')} }`]),
    '}',
  ];
}

function elementText(element: Element, isMark: boolean): string {
  const value = (each: string | number) => (isMark ? hexText(Number(each)) : String(each));
  if (typeof element !== 'object') return value(element);
  if ('range' in element) return `${value(element.range[0])}-${value(element.range[1])}`;
  return `${element.prefix.addr}/${element.prefix.len}`;
}

/** As nft lists marks. */
function hexText(mark: number): string {
  return `0x${mark.toString(16).padStart(8, '0')}`;
}

function chainLines({ name, hook, rules }: NftChain): string[] {
  return [
    `chain ${nameText(name)} {`,
    ...(hook === null
      ? []
      : [`\ttype ${hook.type} hook ${hook.at} priority ${priorityText(hook.priority)}; policy accept;`]),
    ...rules.map(rule => {
      const statements = 'statements' in rule ? rule.statements : rule;
      const comment = 'statements' in rule ? [`comment "${rule.comment}"`] : [];
      return `\t${[...statements.map(statementText), ...comment].join(' ')}`;
    }),
    '}',
  ];
}

/** nft's names for priorities; a number near one is a sum. */
const PRIORITIES: Readonly<Record<number, string>> = { 0: 'filter', [-150]: 'mangle', [-300]: 'raw' };

function priorityText(priority: number): string {
  const below = PRIORITIES[priority + 1];
  return PRIORITIES[priority] ?? (below === undefined ? String(priority) : `${below} - 1`);
}

type Fields = Readonly<Record<string, never>>;

function statementText(statement: Statement): string {
  const [[kind, body]] = Object.entries(statement) as [[string, Fields]];
  switch (kind) {
    case 'match':
      return matchText(body as unknown as Match);
    case 'mangle':
      return `${expressionText(body.key)} set ${valueText(body.key, body.value)}`;
    case 'counter':
      return typeof body === 'string' ? `counter name "${body}"` : 'counter packets 0 bytes 0';
    case 'queue':
      return `queue to ${expressionText(body.num)}`;
    case 'jump':
      return `jump ${body.target}`;
    case 'notrack':
    case 'accept':
    case 'drop':
    case 'return':
      return kind;
    default:
      throw new TypeError(`no text for the statement ${JSON.stringify(statement)}`);
  }
}

interface Match {
  readonly op: string;
  readonly left: object;
  readonly right: unknown;
}

function matchText({ op, left, right }: Match): string {
  // A result of an operation is compared by a sign; elsewhere equality has none.
  const sign = op === '!=' ? ' !=' : '&' in left ? ' ==' : '';
  return `${expressionText(left)}${sign} ${valueText(left, right)}`;
}

const PROTOCOLS: Readonly<Record<number, string>> = { 1: 'icmp', 58: 'ipv6-icmp' };

/** @param key  whose value it is: marks are written in hexadecimal, protocols by their names, interfaces in quotes */
function valueText(key: unknown, value: unknown): string {
  const of = (key as { meta?: { key: string } }).meta?.key;
  if (isOfMark(key) && typeof value === 'number') return hexText(value);
  if (of === 'l4proto' && typeof value === 'number') return PROTOCOLS[value] ?? String(value);
  if (isInterface(of)) return `"${value}"`;
  return expressionText(value);
}

/** The mark, or some bits of it. */
function isOfMark(expression: unknown): boolean {
  const { meta, '&': and } = expression as { meta?: { key: string }; '&'?: readonly unknown[] };
  return meta?.key === 'mark' || and?.some(isOfMark) === true;
}

function isInterface(key: string | undefined): key is string {
  return key === 'iifname' || key === 'oifname';
}

function expressionText(expression: unknown): string {
  if (typeof expression === 'number') return String(expression);
  if (typeof expression === 'string') {
    return expression.startsWith('@') ? `@${nameText(expression.slice(1))}` : expression;
  }
  const [[kind, body]] = Object.entries(expression as object) as [[string, unknown]];
  switch (kind) {
    case 'payload': {
      const { base, offset, len, protocol, field } = body as Record<string, unknown>;
      return base === undefined ? `${protocol} ${field}` : `@${base},${offset},${len}`;
    }
    case 'meta': {
      const { key } = body as { key: string };
      return isInterface(key) ? key : `meta ${key}`;
    }
    case 'ct':
      return `ct ${(body as { key: string }).key}`;
    case 'set':
      return `{ ${(body as readonly unknown[]).map(expressionText).join(', ')} }`;
    case 'range':
      return (body as readonly unknown[]).map(expressionText).join('-');
    case '&':
    case '|':
      return (body as readonly unknown[])
        .map((operand, _, all) =>
          typeof operand === 'number' && all.some(isOfMark) ? hexText(operand) : expressionText(operand),
        )
        .join(` ${kind} `);
    default:
      throw new TypeError(`no text for the expression ${JSON.stringify(expression)}`);
  }
}
