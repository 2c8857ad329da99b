import { millisecondsOf } from './instant.ts';
import { fragment, type Sql, type SqlStatement } from './sql.ts';

/** How a page is cut: rows before or after a key, in one direction, at most `limit`. */
export interface Cut {
  readonly after: string | null;
  readonly before: string | null;
  readonly isDescending: boolean;
  readonly limit: number;
}

/** How many rows of relations there may be: of each parent, and in all. */
export interface ListBounds {
  readonly each: number;
  readonly all: number;
}

/** from <= t < to; an end that is missing is open. */
export interface TimeRange {
  readonly from?: string | null;
  readonly to?: string | null;
}

/** Rows of a table by their ids, which are in the order of time. */
export interface Keyset<Row, Where> {
  /** Rows in the order of `ids`; null where there is none. */
  findByIds(accountId: string, ids: readonly string[]): Promise<readonly (Row | null)[]>;
  /** Rows that match, by id, which is by time. */
  list(accountId: string, where: Where, cut: Cut): Promise<readonly Row[]>;
  count(accountId: string, where: Where): Promise<number>;
}

interface KeysetOptions<Where> {
  /** Of the statements, as comments: `orders.list`. */
  readonly names: Readonly<Record<keyof Keyset<unknown, unknown>, SqlStatement<unknown>>>;
  readonly table: SqlStatement<unknown>;
  readonly columns: SqlStatement<unknown>;
  /** What a row has to match, each condition after an `and`. */
  conditions(where: Where): SqlStatement<unknown>;
}

/** The reads that every table with pages has; `account_id, id` is its primary key. */
export function createKeyset<Row extends { readonly id: string }, Where>(
  sql: Sql,
  { names, table, columns, conditions }: KeysetOptions<Where>,
): Keyset<Row, Where> {
  return {
    async findByIds(accountId, ids) {
      const rows = await sql<Row>`
        ${names.findByIds}
        select ${columns} from ${table} where account_id = ${accountId} and id = any(${ids}::uuid[])`;
      const byId = new Map(rows.map((row) => [row.id, row]));
      return ids.map((id) => byId.get(id) ?? null);
    },

    async list(accountId, where, cut) {
      return sql<Row>`
        ${names.list}
        select ${columns} from ${table}
        where account_id = ${accountId} ${conditions(where)} ${between(cut)}
        order by id ${cut.isDescending ? fragment`desc` : fragment`asc`}
        limit ${cut.limit}`;
    },

    async count(accountId, where) {
      const [row] = await sql<{ count: number }>`
        ${names.count}
        select count(*)::int as count from ${table}
        where account_id = ${accountId} ${conditions(where)}`;
      return row?.count ?? 0;
    },
  };
}

/** The rows strictly between the keys of a page. */
function between(cut: Cut): SqlStatement<unknown> {
  const [above, below] = cut.isDescending ? [cut.before, cut.after] : [cut.after, cut.before];
  return fragment`
    ${above === null ? fragment`` : fragment`and id > ${above}::uuid`}
    ${below === null ? fragment`` : fragment`and id < ${below}::uuid`}`;
}

/** Rows of a range, by the column that says their time and by the ids that begin with it. */
export function within(
  column: SqlStatement<unknown>,
  range: TimeRange | null | undefined,
): SqlStatement<unknown> {
  const { from, to } = range ?? {};
  return fragment`
    ${from ? fragment`and ${column} >= ${from}` : fragment``}
    ${to ? fragment`and ${column} < ${to}` : fragment``}
    ${idsWithin(fragment`id`, range)}`;
}

/**
 * The ids of a range, and of the rest of the milliseconds at its ends. They are what an index finds,
 * and what tells a partition that need not be read.
 */
export function idsWithin(
  id: SqlStatement<unknown>,
  range: TimeRange | null | undefined,
): SqlStatement<unknown> {
  const { from, to } = range ?? {};
  return fragment`
    ${from ? fragment`and ${id} >= ${lowestUuidOf(millisecondsOf(from))}::uuid` : fragment``}
    ${to ? fragment`and ${id} < ${lowestUuidOf(millisecondsOf(to) + 1)}::uuid` : fragment``}`;
}

function lowestUuidOf(timeMs: number): string {
  const time = Math.max(0, timeMs).toString(16).padStart(12, '0');
  return `${time.slice(0, 8)}-${time.slice(8)}-0000-0000-000000000000`;
}
