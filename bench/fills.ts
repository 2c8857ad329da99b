import type { Order } from '../datasources/order.ts';
import type { Position } from '../datasources/position.ts';
import { uuidOf } from '../datasources/id.ts';
import { createLedger, type Ledger } from '../resolvers/ledger.ts';

/** What an exchange tells of one execution, as an item of `recordTrades`. */
export interface BenchFill {
  readonly clientOrderId: string;
  readonly exchangeTradeId: string;
  readonly price: string;
  readonly quantity: string;
  readonly commission: string;
  readonly commissionAsset: string;
  readonly executedAt: string;
}

export const AT = '2026-01-01T00:00:00.000000Z';
export const ITEM_HASH = 'ab'.repeat(32);

/** An order that was just placed. */
export function placedOrder(
  named: Pick<Order, 'clientOrderId' | 'symbol' | 'type' | 'price' | 'quantity'>,
): Order {
  return {
    ...named,
    accountId: 'main',
    id: uuidOf(Date.parse(AT)),
    exchange: 'bybit',
    side: 'BUY',
    timeInForce: 'GTC',
    status: 'PENDING',
    stopPrice: null,
    filledQuantity: '0',
    averagePrice: null,
    stopLossPrice: null,
    takeProfitPrice: null,
    trailBy: null,
    leverage: '1',
    reduceOnly: false,
    positionSide: 'LONG',
    expiresAt: null,
    exchangeOrderId: null,
    strategy: 'bench',
    reason: null,
    metadata: null,
    createdAt: AT,
    updatedAt: AT,
    closedAt: null,
    version: 1,
    positionId: null,
  };
}

/** What the product makes of the fills, by its own code: the limit writes the very same rows. */
export function foldFills(
  orders: readonly Order[],
  positions: readonly Position[],
  fills: readonly BenchFill[],
): Ledger {
  const ledger = createLedger({ at: AT, known: [], positions, marks: new Map() });
  const byName = new Map(orders.map((order) => [order.clientOrderId, order]));
  for (const { clientOrderId, ...fill } of fills) {
    const order = byName.get(clientOrderId);
    if (order === undefined) throw new Error(`no order ${clientOrderId}`);
    ledger.book(
      { order, hedgeMode: false, quoteAsset: null },
      {
        ...fill,
        name: { clientOrderId },
        stopLossPrice: null,
        takeProfitPrice: null,
        hash: ITEM_HASH,
      },
      uuidOf(Date.parse(AT)),
    );
  }
  return ledger;
}
