import type { ChangeRecorder } from './change-recorder.ts';
import type { Sql } from './sql.ts';

export type OrderSide = 'BUY' | 'SELL';

/** One execution: a fill of an order, or the open or close of a position that has none. */
export interface Trade {
  readonly accountId: string;
  readonly id: string;
  readonly exchange: string;
  readonly symbol: string;
  readonly side: OrderSide;
  readonly price: string;
  readonly quantity: string;
  readonly commission: string;
  readonly commissionAsset: string | null;
  readonly realizedPnl: string;
  readonly exchangeTradeId: string | null;
  readonly strategy: string | null;
  readonly executedAt: string;
  readonly orderId: string | null;
  readonly positionId: string;
  readonly openedPositionId: string | null;
}

/** A trade as it is written: what a repeat of its item is recognized by comes along. */
export interface NewTrade extends Trade {
  readonly clientId: string | null;
  readonly itemHash: string | null;
}

/** The trade that an earlier item under this client id wrote. */
export interface KnownTrade {
  readonly clientId: string;
  readonly itemHash: string | null;
  readonly positionId: string;
}

export type TradeRepository = ReturnType<typeof createTradeRepository>;

export function createTradeRepository(sql: Sql, recorder: ChangeRecorder) {
  return {
    /** What was written under these client ids, in no order. */
    async findByClientIds(
      accountId: string,
      clientIds: readonly string[],
    ): Promise<readonly KnownTrade[]> {
      return sql<KnownTrade>`
        /* trades.findByClientIds */
        select client_id, encode(item_hash, 'hex') as item_hash, position_id from trades
        where account_id = ${accountId} and client_id = any(${clientIds}::text[])`;
    },

    /** Inserts and records each. The position of each is locked or new in this unit. */
    async insertMany(accountId: string, trades: readonly NewTrade[]): Promise<void> {
      await sql`
        /* trades.insertMany */
        insert into trades (
          account_id, id, exchange, symbol, side, price, quantity, commission, commission_asset,
          realized_pnl, exchange_trade_id, strategy, executed_at, order_id, position_id,
          opened_position_id, client_id, item_hash)
        select ${accountId}, i.id, i.exchange, i.symbol, i.side, i.price, i.quantity,
          i.commission, i."commissionAsset", i."realizedPnl", i."exchangeTradeId", i.strategy,
          i."executedAt", i."orderId", i."positionId", i."openedPositionId", i."clientId",
          decode(i."itemHash", 'hex')
        from json_to_recordset(${JSON.stringify(trades)}::text::json) as i (
          id uuid, exchange text, symbol text, side text, price numeric, quantity numeric,
          commission numeric, "commissionAsset" text, "realizedPnl" numeric,
          "exchangeTradeId" text, strategy text, "executedAt" timestamptz, "orderId" uuid,
          "positionId" uuid, "openedPositionId" uuid, "clientId" text, "itemHash" text)
        order by i.id`;
      for (const { clientId: _clientId, itemHash: _itemHash, ...after } of trades) {
        recorder.record({
          accountId,
          entity: 'trade',
          operation: 'INSERT',
          ids: [after.id],
          before: null,
          after,
        });
      }
    },
  };
}
