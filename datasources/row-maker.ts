/**
 * Rows by the names of their columns. The driver would set the names one by one, and of an object
 * with more than twelve of them V8 makes a hash table: half of all that a page allocated. Here a
 * function is compiled for each list of columns, whose rows all have one shape.
 */

/** What the driver gives of a statement whose rows it leaves as lists of values. */
interface ValueRows extends Array<unknown> {
  readonly columns?: readonly Column[] | null;
}

interface Column {
  readonly name: string;
}

type RowMaker = (values: readonly unknown[]) => object;

/** The same rows as objects, in place. */
export function nameColumns(rows: ValueRows): ValueRows {
  if (rows.length === 0) return rows;
  const make = makerOf(rows.columns ?? []);
  for (let index = 0; index < rows.length; index += 1) {
    // Each was made by the driver as a list of values.
    rows[index] = make(rows[index] as readonly unknown[]);
  }
  return rows;
}

/** A statement that is prepared keeps its list of columns. */
const byColumns = new WeakMap<readonly Column[], RowMaker>();
const byNames = new Map<string, RowMaker>();
/** More than the program has statements. */
const MAKERS_MAX = 2000;

function makerOf(columns: readonly Column[]): RowMaker {
  let maker = byColumns.get(columns);
  if (maker === undefined) {
    const names = columns.map(({ name }) => name);
    const text = JSON.stringify(names);
    maker = byNames.get(text) ?? createMaker(names);
    if (byNames.size >= MAKERS_MAX) byNames.clear();
    byNames.set(text, maker);
    byColumns.set(columns, maker);
  }
  return maker;
}

/** What can stand as a name in a literal; `__proto__` would not become a property. */
const PLAIN = /^(?!__proto__$)[a-z_]\w*$/i;

function createMaker(names: readonly string[]): RowMaker {
  if (!names.every((name) => PLAIN.test(name))) {
    return (values) => Object.fromEntries(names.map((name, index) => [name, values[index]]));
  }
  const members = names.map((name, index) => `${name}: values[${index}]`);
  // It contains nothing but names that were looked at just now.
  return new Function('values', `return { ${members.join(', ')} };`) as RowMaker;
}
