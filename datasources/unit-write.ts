import { AppError } from '../errors.ts';
import type { Update } from './change-recorder.ts';
import type { NewOrder, Order } from './order.ts';
import type { Call } from './lane.ts';
import { insertOrders, updateOrders } from './order-rows.ts';
import type { NewPosition, Position } from './position.ts';
import { insertPositions, updatePositions } from './position-rows.ts';
import { DatabaseError } from './postgres.ts';
import { waitMsOf } from './slot.ts';
import { fragment, identifier, joined, type Sql, type SqlStatement } from './sql.ts';
import { insertTrades, type NewTrade } from './trade.ts';

/** Rows by their ids, as they are to be written. */
export interface UnitRows {
  readonly accountId: string;
  readonly placed: Map<string, NewOrder>;
  readonly filled: Map<string, Update<Order>>;
  readonly opened: Map<string, NewPosition>;
  readonly moved: Map<string, Update<Position>>;
  readonly trades: NewTrade[];
}

export function noRows(accountId: string): UnitRows {
  return {
    accountId,
    placed: new Map(),
    filled: new Map(),
    opened: new Map(),
    moved: new Map(),
    trades: [],
  };
}

/** By `refuse_write`: some rows of the part that its constraint names were not written. */
const NOT_WRITTEN = 'TW004';

/** One kind of rows of what is sent. */
interface Part {
  readonly key: 'placed' | 'filled' | 'moved' | 'opened' | 'traded';
  readonly name: SqlStatement<unknown>;
  readonly statement: () => SqlStatement<unknown>;
  readonly rows: number;
  /** What it means that fewer rows were written. */
  readonly onShort: () => Error;
}

/** What a unit writes last. */
export interface LastWrite {
  /** Fails unless it runs in the unit's transaction and every row is written. */
  readonly statement: SqlStatement<unknown>;
  /** What its failure means. */
  failureOf(error: unknown): unknown;
}

/**
 * Writes these rows in one statement.
 *
 * @throws AppError SERIALIZATION_FAILURE when another unit took a name or opened a position
 */
export async function writeRows(sql: Sql, rows: UnitRows): Promise<void> {
  const parts = partsOf(rows);
  const [only, ...others] = parts;
  if (only === undefined) return;
  if (others.length > 0) {
    await sql`${whole(parts)}`.then(undefined, (error: unknown) => {
      throw failureOf(parts, error);
    });
    return;
  }
  const { count } = await sql`${only.name} ${only.statement()}`;
  if (count !== only.rows) throw only.onShort();
}

/**
 * The same to be sent with COMMIT behind it: it decides for itself, and waits for no lock longer
 * than the call has time. Null: there is nothing to write.
 */
export function lastWriteOf(
  rows: UnitRows,
  transactionId: string,
  call: Pick<Call, 'deadlineAt'>,
): LastWrite | null {
  const parts = partsOf(rows);
  if (parts.length === 0) return null;
  return {
    statement: whole(parts, fragment`begin_last_write(${transactionId}, ${waitMsOf(call)})`),
    failureOf: (error) => failureOf(parts, error),
  };
}

function failureOf(parts: readonly Part[], error: unknown): unknown {
  if (!(error instanceof DatabaseError) || error.sqlState !== NOT_WRITTEN) return error;
  return parts.find(({ key }) => key === error.constraint)?.onShort() ?? error;
}

function partsOf(rows: UnitRows): readonly Part[] {
  const { accountId, placed, filled, moved, opened, trades } = rows;
  // A position is closed before another one of its side is opened.
  const areMoved = moved.size === 0 ? fragment`true` : fragment`(select count(*) from moved) >= 0`;
  const parts: readonly Part[] = [
    {
      key: 'placed',
      name: fragment`/* orders.insertMany */`,
      statement: () => insertOrders(accountId, [...placed.values()]),
      rows: placed.size,
      onShort: () => metAnother('Another request took one of the clientOrderIds.'),
    },
    {
      key: 'filled',
      name: fragment`/* orders.updateMany */`,
      statement: () => updateOrders(accountId, [...filled.values()]),
      rows: filled.size,
      onShort: () => changedUnderLock('order'),
    },
    {
      key: 'moved',
      name: fragment`/* positions.updateMany */`,
      statement: () => updatePositions(accountId, [...moved.values()]),
      rows: moved.size,
      onShort: () => changedUnderLock('position'),
    },
    {
      key: 'opened',
      name: fragment`/* positions.insertMany */`,
      statement: () => insertPositions(accountId, [...opened.values()], areMoved),
      rows: opened.size,
      onShort: () => metAnother('Another request opened one of the positions.'),
    },
    {
      key: 'traded',
      name: fragment`/* trades.insertMany */`,
      statement: () => insertTrades(accountId, trades),
      rows: trades.length,
      onShort: () => new Error('a trade was not written'),
    },
  ];
  return parts.filter((part) => part.rows > 0);
}

/** All parts in one statement, which fails unless every row is written; `begin` is run before. */
function whole(
  parts: readonly Part[],
  begin: SqlStatement<unknown> | null = null,
): SqlStatement<unknown> {
  const [only, ...others] = parts;
  const name = only !== undefined && others.length === 0 ? only.name : fragment`/* units.write */`;
  const written = parts.map(
    ({ key, statement }) => fragment`${identifier(key)} as (${statement()} returning 1)`,
  );
  const counts = parts.map(
    ({ key, rows }) => fragment`
      case when (select count(*) from ${identifier(key)}) <> ${rows}
        then refuse_write(${key}) end as ${identifier(key)}`,
  );
  if (begin === null) {
    return fragment`${name} with ${joined(written, ', ')} select ${joined(counts, ', ')}`;
  }
  // It is first: what is written is asked for by the row that it gives.
  const begun = fragment`"begun" as materialized (select ${begin})`;
  return fragment`${name} with ${joined([begun, ...written], ', ')}
    select ${joined(counts, ', ')} from "begun"`;
}

/** Run again, the unit finds what the other one has written. */
function metAnother(message: string): AppError {
  return new AppError('SERIALIZATION_FAILURE', message);
}

/** A row that was locked cannot have another version. */
function changedUnderLock(entity: 'order' | 'position'): Error {
  return new Error(`a locked ${entity} changed under its lock`);
}
