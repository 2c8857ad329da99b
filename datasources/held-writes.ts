import type { Update } from './change-recorder.ts';
import type { NewOrder, Order } from './order.ts';
import type { NewPosition, Position } from './position.ts';
import type { Call } from './lane.ts';
import type { Mark } from './mark.ts';
import { toPosition } from './position-rows.ts';
import type { Sql } from './sql.ts';
import type { NewTrade } from './trade.ts';
import { type LastWrite, lastWriteOf, noRows, type UnitRows, writeRows } from './unit-write.ts';

/**
 * The orders, positions and trades that a unit of work has decided to write. It holds them back
 * until something has to see them in the tables, or the unit ends, and then sends them in one
 * statement: most batches are small, and a round trip costs more than a row. Rows that the unit
 * made or locked itself are known from here, so a unit that places an order, fills it and moves the
 * stops of its position writes each row once, as it is at the end. The log has every step.
 *
 * What is held is of one account: rows of another one are held after those were sent.
 */
export interface HeldWrites {
  /** Sends nothing first: for reads of what is never held. */
  readonly direct: Sql;
  /** `direct` for locks: what was read before may be old once it has waited. */
  readonly locking: Sql;
  /** `locking` after what is held was sent: for what reads or locks rows of which some may be held. */
  readonly reading: Sql;
  /** `reading` once the transaction is known to have begun: for everything else. */
  readonly sql: Sql;
  insertOrders(accountId: string, orders: readonly NewOrder[]): Promise<void>;
  /** Of rows that the unit has locked, or holds. */
  updateOrders(accountId: string, updates: readonly Update<Order>[]): Promise<void>;
  insertPositions(accountId: string, positions: readonly NewPosition[]): Promise<void>;
  /** Of open rows that the unit has locked, or holds. */
  updatePositions(accountId: string, updates: readonly Update<Position>[]): Promise<void>;
  insertTrades(accountId: string, trades: readonly NewTrade[]): Promise<void>;
  /**
   * By instrument, what the unit has read of marks since it last waited for a lock or wrote; null
   * stands for an instrument without one. Null where there is no unit: nothing is kept.
   */
  readonly marks: Map<string, Mark | null> | null;
  /** The orders that are held, as they become. */
  orders(accountId: string): Iterable<HeldOrder>;
  /** The positions that are held, as they become. */
  positions(accountId: string): Iterable<Position>;
  /**
   * Sends what is held. Nothing is sent twice, whoever waits for it.
   *
   * @throws AppError SERIALIZATION_FAILURE when another unit took a name or opened a position
   */
  flush(): Promise<void>;
  /**
   * What is held, to be sent by the caller as the last that the unit writes; null: nothing is held.
   * What was sent before is waited for.
   *
   * @throws what `flush` does
   */
  last(transactionId: string, call: Call): Promise<LastWrite | null>;
}

export interface HeldOrder {
  readonly order: Order;
  /** Null: the order stands in the table, and the hash of its item with it. */
  readonly itemHash: string | null;
}

const NOTHING_TO_WAIT_FOR = Promise.resolve();

/**
 * Holds the writes of one attempt of a unit of work over its connection. Nothing but what is sent
 * directly is sent before `begun` has resolved.
 */
export function holdWrites(direct: Sql, begun: Promise<unknown> = NOTHING_TO_WAIT_FOR): HeldWrites {
  let rows: UnitRows | null = null;
  let hasSent = false;
  let marks = new Map<string, Mark | null>();
  let sending: Promise<void> = begun.then(ignore);
  sending.catch(ignore);

  function flush(): Promise<void> {
    if (rows !== null) {
      const sent = rows;
      rows = null;
      hasSent = true;
      sending = sending.then(() => writeRows(direct, sent));
      sending.catch(ignore);
    }
    return sending;
  }

  async function of(accountId: string): Promise<UnitRows> {
    if (rows !== null && rows.accountId !== accountId) await flush();
    rows ??= noRows(accountId);
    return rows;
  }

  const locking: Sql = (strings, ...values) => {
    // Not cleared: a read that is under way may still be written into the old one.
    marks = new Map();
    return direct(strings, ...values);
  };

  return {
    direct,
    locking,
    reading: (strings, ...values) =>
      locking(strings, ...values).after(async () => {
        if (rows !== null || hasSent) await flush();
      }),
    sql: (strings, ...values) => locking(strings, ...values).after(flush),
    get marks() {
      return marks;
    },
    async insertOrders(accountId, orders) {
      const { placed } = await of(accountId);
      for (const order of orders) placed.set(order.id, order);
    },
    async updateOrders(accountId, updates) {
      // Only the first move of an order that is not in the table is sure to be legal: each other
      // one is made by an UPDATE of its own, which asks the state machine and the version.
      const isSecond = ({ before, next }: Update<Order>) =>
        rows?.filled.has(next.id) || (rows?.placed.has(next.id) && before.status !== 'PENDING');
      if (updates.some(isSecond)) await flush();
      const { placed, filled } = await of(accountId);
      for (const update of updates) {
        const made = placed.get(update.next.id);
        if (made === undefined) filled.set(update.next.id, update);
        else placed.set(made.id, { ...update.next, itemHash: made.itemHash });
      }
    },
    async insertPositions(accountId, positions) {
      const { opened } = await of(accountId);
      for (const position of positions) opened.set(position.id, position);
    },
    async updatePositions(accountId, updates) {
      // As above: the UPDATE is guarded by the version that the row has in the table.
      if (updates.some(({ next }) => rows?.moved.has(next.id))) await flush();
      const { opened, moved } = await of(accountId);
      for (const update of updates) {
        const made = opened.get(update.next.id);
        if (made === undefined) moved.set(update.next.id, update);
        else opened.set(made.id, { ...made, ...update.next });
      }
    },
    async insertTrades(accountId, trades) {
      const { trades: held } = await of(accountId);
      held.push(...trades);
    },
    *orders(accountId) {
      if (rows?.accountId !== accountId) return;
      for (const { itemHash, ...order } of rows.placed.values()) yield { order, itemHash };
      for (const { next } of rows.filled.values()) yield { order: next, itemHash: null };
    },
    *positions(accountId) {
      if (rows?.accountId !== accountId) return;
      for (const made of rows.opened.values()) yield toPosition(made);
      for (const { next } of rows.moved.values()) yield next;
    },
    flush,
    async last(transactionId, call) {
      await sending;
      const write = rows === null ? null : lastWriteOf(rows, transactionId, call);
      rows = null;
      return write;
    },
  };
}

/** Holds nothing: each write is sent before it is answered. */
export function writeAtOnce(direct: Sql): HeldWrites {
  const held = holdWrites(direct);
  const atOnce =
    <Items>(hold: (accountId: string, items: Items) => Promise<void>) =>
    async (accountId: string, items: Items): Promise<void> => {
      await hold(accountId, items);
      await held.flush();
    };
  return {
    ...held,
    locking: direct,
    reading: direct,
    sql: direct,
    marks: null,
    insertOrders: atOnce(held.insertOrders),
    updateOrders: atOnce(held.updateOrders),
    insertPositions: atOnce(held.insertPositions),
    updatePositions: atOnce(held.updatePositions),
    insertTrades: atOnce(held.insertTrades),
  };
}

function ignore(): void {
  // What came of it is told to whoever waits for it.
}
