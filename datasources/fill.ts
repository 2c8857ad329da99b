import {
  type ChangeRecorder,
  recordInserts,
  recordUpdates,
  type Update,
} from './change-recorder.ts';
import type { HeldWrites } from './held-writes.ts';
import type { Order } from './order.ts';
import type { NewPosition, Position } from './position.ts';
import { toPosition } from './position-rows.ts';
import { type NewTrade, toTrade } from './trade.ts';

/** What a batch of fills makes of the rows that its unit has locked. */
export interface FilledRows {
  readonly orders: readonly Update<Order>[];
  readonly moved: readonly Update<Position>[];
  readonly opened: readonly NewPosition[];
  readonly trades: readonly NewTrade[];
}

export function createFillRepository(held: HeldWrites, recorder: ChangeRecorder) {
  return {
    /** Writes it all and records each row. */
    async write(accountId: string, { orders, moved, opened, trades }: FilledRows): Promise<void> {
      await held.updateOrders(accountId, orders);
      await held.updatePositions(accountId, moved);
      await held.insertPositions(accountId, opened);
      await held.insertTrades(accountId, trades);
      recordUpdates(recorder, accountId, 'order', orders);
      recordUpdates(recorder, accountId, 'position', moved);
      recordInserts(recorder, accountId, 'position', opened.map(toPosition));
      recordInserts(recorder, accountId, 'trade', trades.map(toTrade));
    },
  };
}
