/**
 * Lists that are checked no further once they have shown enough faults. zod's own check every element and keep an object
 * for each fault: of a million, that blocked the main thread for a minute.
 */
import { z } from 'zod';
import { MOST_FAULTS } from '../types/errors.js';

const UNCHECKED = 'unchecked';

/** Entries of a list that were not checked, if that is what an issue says; 0: it is a fault. */
export function uncheckedOf(issue: z.core.$ZodIssue): number {
  return issue.code === 'custom' ? ((issue.params?.[UNCHECKED] as number | undefined) ?? 0) : 0;
}

export interface Bounds {
  readonly least?: number;
  readonly most?: number;
}

/** What the elements of a list are, for the JSON Schema: to zod they are unknown. */
const elements = new WeakMap<z.core.$ZodType, z.ZodType>();

/** A list of `element` that stops after MOST_FAULTS faults. */
export function listOf<Element extends z.ZodType>(element: Element, { least, most }: Bounds = {}) {
  let array = z.array(z.unknown());
  if (least !== undefined) array = array.min(least);
  if (most !== undefined) array = array.max(most);
  elements.set(array, element);
  return array.transform((items, context): z.output<Element>[] => {
    const accepted: z.output<Element>[] = [];
    let faults = 0;
    for (const [index, item] of items.entries()) {
      const checked = element.safeParse(item);
      if (checked.success) {
        accepted.push(checked.data);
        continue;
      }
      for (const issue of checked.error.issues) {
        faults++;
        context.addIssue({ ...issue, path: [index, ...issue.path] } as Parameters<
          typeof context.addIssue
        >[0]);
      }
      const unchecked = items.length - index - 1;
      if (faults >= MOST_FAULTS && unchecked > 0) {
        context.addIssue({ code: 'custom', params: { [UNCHECKED]: unchecked } });
        break;
      }
    }
    return accepted;
  });
}

/** zod's JSON Schema of what is written, with the elements of such lists. */
export function jsonSchemaOf(schema: z.ZodType): Record<string, unknown> {
  return z.toJSONSchema(schema, {
    io: 'input',
    override: ({ zodSchema, jsonSchema }) => {
      const element = elements.get(zodSchema);
      if (element === undefined) return;
      const { $schema, ...items } = jsonSchemaOf(element);
      jsonSchema.items = items;
    },
  });
}
