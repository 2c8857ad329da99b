import {
  type ChangeRecorder,
  recordInserts,
  recordUpdates,
  type Update,
} from './change-recorder.ts';
import { type Order, updateOrders } from './order.ts';
import {
  assertAllUpdated,
  insertPositions,
  type NewPosition,
  type Position,
  toPosition,
  updatePositions,
} from './position.ts';
import { fragment, type Sql } from './sql.ts';
import { insertTrades, type NewTrade, toTrade } from './trade.ts';

/** What a batch of fills makes of the rows that its unit has locked. */
export interface FilledRows {
  readonly orders: readonly Update<Order>[];
  readonly moved: readonly Update<Position>[];
  readonly opened: readonly NewPosition[];
  readonly trades: readonly NewTrade[];
}

interface WrittenCounts {
  readonly orders: number;
  readonly moved: number;
  readonly opened: number;
}

export function createFillRepository(sql: Sql, recorder: ChangeRecorder) {
  return {
    /**
     * Writes it all in one statement, since most batches are small and a round trip costs more than
     * a row, and records each row. False: one of the positions met an open one of its side.
     */
    async write(
      accountId: string,
      { orders, moved, opened, trades }: FilledRows,
    ): Promise<boolean> {
      // A position is closed before another one of its side is opened.
      const areMoved = fragment`(select count(*) from moved) >= 0`;
      const [written] = await sql<WrittenCounts>`
        /* fills.write */
        with filled as (${updateOrders(accountId, orders)} returning 1),
        moved as (${updatePositions(accountId, moved)} returning 1),
        opened as (${insertPositions(accountId, opened, areMoved)}),
        traded as (${insertTrades(accountId, trades)})
        select (select count(*)::int from filled) as orders,
          (select count(*)::int from moved) as moved,
          (select count(*)::int from opened) as opened`;
      assertAllUpdated(written?.orders ?? 0, orders, 'order');
      assertAllUpdated(written?.moved ?? 0, moved, 'position');
      if (written?.opened !== opened.length) return false;
      recordUpdates(recorder, accountId, 'order', orders);
      recordUpdates(recorder, accountId, 'position', moved);
      recordInserts(recorder, accountId, 'position', opened.map(toPosition));
      recordInserts(recorder, accountId, 'trade', trades.map(toTrade));
      return true;
    },
  };
}
