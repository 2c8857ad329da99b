/**
 * Tagged templates over a runner of statements. A template is lazy: awaited it runs, placed inside
 * another template it is a fragment of that one. Values become parameters, never text.
 */

export type SqlValue =
  | string
  | number
  | boolean
  | null
  | Uint8Array
  | readonly (string | null)[]
  | readonly number[]
  | SqlStatement<never>;

/** Rows in the order the server sent them, with the count and the tag of the command. */
export type Rows<Row> = readonly Row[] & { readonly count: number; readonly command: string };

/** A row as the server sent it: the bytes of each column in their order, null where it is null. */
export type RawRow = readonly (Buffer | null)[];

/** A template made one text with $1, $2, … and its parameters. `name` comes from the first comment. */
export interface CompiledStatement {
  readonly name: string;
  readonly text: string;
  readonly parameters: readonly Exclude<SqlValue, SqlStatement<never>>[];
  /** Its rows are RawRows. */
  readonly isRaw?: boolean;
}

export type StatementRunner = (statement: CompiledStatement) => Promise<Rows<unknown>>;

// biome-ignore lint/suspicious/noExplicitAny: a row's shape is stated where the statement stands.
export type Sql = <Row = any>(
  strings: TemplateStringsArray,
  ...values: readonly SqlInput[]
) => SqlStatement<Row>;

// biome-ignore lint/suspicious/noExplicitAny: a fragment's row type does not matter.
type SqlInput = Exclude<SqlValue, SqlStatement<never>> | SqlStatement<any>;

const NAME = /^\s*\/\* ([\w.]+) \*\//;

export class SqlStatement<Row> implements PromiseLike<Rows<Row>> {
  readonly #strings: readonly string[];
  readonly #values: readonly SqlInput[];
  readonly #run: StatementRunner;

  constructor(strings: readonly string[], values: readonly SqlInput[], run: StatementRunner) {
    this.#strings = strings;
    this.#values = values;
    this.#run = run;
  }

  compile(): CompiledStatement {
    const parameters: Exclude<SqlValue, SqlStatement<never>>[] = [];
    const text = this.#append('', parameters);
    return { name: NAME.exec(text)?.[1] ?? 'unnamed', text, parameters };
  }

  /** Runs it like `await` does; nothing of its rows is parsed, decoded or copied. */
  async raw(): Promise<Rows<RawRow>> {
    const rows = await this.#run({ ...this.compile(), isRaw: true });
    // The runner was told so.
    return rows as Rows<RawRow>;
  }

  /** The same statement, run once what `ready` gives has resolved. */
  after(ready: () => Promise<void>): SqlStatement<Row> {
    const run: StatementRunner = async (statement) => {
      await ready();
      return this.#run(statement);
    };
    return new SqlStatement(this.#strings, this.#values, run);
  }

  #append(before: string, parameters: Exclude<SqlValue, SqlStatement<never>>[]): string {
    let text = before + this.#strings[0];
    for (const [index, value] of this.#values.entries()) {
      if (value instanceof SqlStatement) {
        text = value.#append(text, parameters);
      } else {
        assertSendable(value);
        parameters.push(value);
        text += `$${parameters.length}`;
      }
      text += this.#strings[index + 1];
    }
    return text;
  }

  // biome-ignore lint/suspicious/noThenProperty: awaiting a template is how it is run.
  then<Result = Rows<Row>, Failure = never>(
    onRows?: ((rows: Rows<Row>) => Result | PromiseLike<Result>) | null,
    onError?: ((error: unknown) => Failure | PromiseLike<Failure>) | null,
  ): Promise<Result | Failure> {
    // The row type is the caller's statement about its own select list.
    const rows = this.#run(this.compile()) as Promise<Rows<Row>>;
    return rows.then(onRows, onError);
  }
}

/** Undefined is a field somebody forgot, and the driver gives arrays of booleans the wrong type. */
function assertSendable(value: unknown): void {
  if (value === undefined) throw new Error('undefined is no value of SQL: send null');
  if (!Array.isArray(value)) return;
  if (typeof value[0] === 'boolean') throw new Error('booleans are sent as an array of text');
  if (value.includes(undefined)) throw new Error('undefined is no item of a SQL array: send null');
}

/** A template tag whose statements are run by `run`. */
export function createSql(run: StatementRunner): Sql {
  return <Row>(strings: TemplateStringsArray, ...values: readonly SqlInput[]) =>
    new SqlStatement<Row>(strings, values, run);
}

/** For fragments that are shared between statements; it cannot be run. */
export const fragment: Sql = createSql(runFragment);

/** These fragments with `separator` between them: `, ` in a list, ` + ` in a sum. */
export function joined(
  parts: readonly SqlStatement<unknown>[],
  separator: string,
): SqlStatement<unknown> {
  if (parts.length === 0) return fragment``;
  const between = parts.slice(1).map(() => separator);
  return new SqlStatement(['', ...between, ''], parts, runFragment);
}

/**
 * Whether a column is one of these values. A single one is an equality: the server plans it once,
 * where it plans an array anew each time as long as that seems to pay.
 */
export function isOneOf(
  column: SqlStatement<unknown>,
  values: readonly string[],
  type: SqlStatement<unknown>,
): SqlStatement<unknown> {
  const [first, ...others] = values;
  if (first === undefined) return fragment`false`;
  return others.length === 0
    ? fragment`${column} = ${first}::${type}`
    : fragment`${column} = any(${values}::${type}[])`;
}

const IDENTIFIER = /^[a-zA-Z][a-zA-Z0-9_]{0,62}$/;

/** A name of ours as a quoted identifier; never what a client said. */
export function identifier(name: string): SqlStatement<unknown> {
  if (!IDENTIFIER.test(name)) throw new Error(`${JSON.stringify(name)} is no name of a column`);
  return new SqlStatement([`"${name}"`], [], runFragment);
}

function runFragment(): never {
  throw new Error('a fragment is part of a statement and cannot be run');
}
