/**
 * How values travel. Numbers that are exact, and instants, stay the strings that PostgreSQL sends:
 * a JavaScript number loses digits, a Date microseconds.
 */

const asSent = (value: unknown) => value;

/** Handlers in the form the library takes them: a parameter type, result types, both ways. */
export const TYPES = {
  json: {
    to: 114,
    from: [114, 3802],
    // A string is JSON already; the library would quote it once more.
    serialize: (value: unknown) => (typeof value === 'string' ? value : JSON.stringify(value)),
    parse: (text: string): unknown => JSON.parse(text),
  },
  boolean: {
    to: 16,
    from: [16],
    serialize: (value: unknown) =>
      typeof value === 'boolean' ? (value ? 't' : 'f') : String(value),
    parse: (text: string) => text === 't',
  },
  // The library's serializer would cut strings to milliseconds.
  date: { to: 1184, from: [1082, 1114], serialize: asSent, parse: (text: string) => text },
  instant: { to: 1184, from: [1184], serialize: asSent, parse: parseInstant },
  // Read as text, so that a session needs no list of types.
  stringArrays: {
    to: 1009,
    from: [1002, 1003, 1009, 1014, 1015, 1016, 1231, 2951, 1115, 1182],
    serialize: asSent,
    parse: (text: string) => parseArray(text, (item) => item),
  },
  numberArrays: {
    to: 1007,
    from: [1005, 1007, 1021, 1022, 1028],
    serialize: asSent,
    parse: (text: string) => parseArray(text, Number),
  },
  booleanArrays: {
    to: 1000,
    from: [1000],
    serialize: asSent,
    parse: (text: string) => parseArray(text, (item) => item === 't'),
  },
  instantArrays: {
    to: 1185,
    from: [1185],
    serialize: asSent,
    parse: (text: string) => parseArray(text, parseInstant),
  },
  jsonArrays: {
    to: 199,
    from: [199, 3807],
    serialize: asSent,
    parse: (text: string) => parseArray(text, (item): unknown => JSON.parse(item)),
  },
};

const SIX_ZEROS = '000000';
const SECONDS_END = 19;
// Rows that were written together have the same instants, a row that was never changed has one twice.
let lastText = '';
let lastInstant = '';

/**
 * `2026-11-23 04:46:08.12+00` as `2026-11-23T04:46:08.120000Z`. The session's zone is UTC.
 * `infinity` and years outside of 0001–9999 stay as they were sent.
 */
export function parseInstant(text: string): string {
  if (text === lastText) return lastInstant;
  if (text.charCodeAt(10) !== 32 || !text.endsWith('+00')) return text;
  const fraction = text.slice(SECONDS_END + 1, -3);
  lastInstant = `${text.slice(0, 10)}T${text.slice(11, SECONDS_END)}.${fraction}${SIX_ZEROS.slice(fraction.length)}Z`;
  lastText = text;
  return lastInstant;
}

/** The items of an array literal of one dimension: `{a,"b c",NULL}`. */
export function parseArray<Item>(text: string, parse: (item: string) => Item): (Item | null)[] {
  const items: (Item | null)[] = [];
  let index = 1;
  while (index < text.length - 1) {
    if (text[index] === '"') {
      let end = index + 1;
      while (text[end] !== '"') end += text[end] === '\\' ? 2 : 1;
      items.push(parse(text.slice(index + 1, end).replaceAll(/\\(.)/gs, '$1')));
      index = end + 2;
    } else {
      let end = text.indexOf(',', index);
      if (end === -1) end = text.length - 1;
      const item = text.slice(index, end);
      items.push(item === 'NULL' ? null : parse(item));
      index = end + 1;
    }
  }
  return items;
}

const NEEDS_ESCAPE = /["\\]/;

/** An array as the literal that any array type reads; the server knows the type, not the driver. */
export function arrayLiteral(items: readonly (string | number | null)[]): string {
  let text = '{';
  for (const [index, item] of items.entries()) {
    if (index > 0) text += ',';
    if (item === null) text += 'NULL';
    else if (typeof item === 'number') text += item;
    else text += `"${NEEDS_ESCAPE.test(item) ? item.replaceAll(/["\\]/g, '\\$&') : item}"`;
  }
  return `${text}}`;
}

/** `opened_at` as `openedAt`. Keys inside JSON are left alone. */
export function toCamel(name: string): string {
  return name.replaceAll(/_([a-z0-9])/g, (_match, letter: string) => letter.toUpperCase());
}
