import {
  bookFill,
  type ModelAccount,
  type ModelFill,
  type ModelOrder,
  type ModelPosition,
  textOf,
} from './fill-model.ts';
import type { Item } from './make.ts';
import type { TestServer } from './server.ts';
import { makeAccount, RECORD, type TradeResult } from './trading.ts';

export type OrderPlan = Pick<ModelOrder, 'side' | 'positionSide' | 'quantity' | 'reduceOnly'>;

/** A fill of one symbol's order, by their places. */
export interface MarketFill extends ModelFill {
  readonly symbol: number;
  readonly exchangeTradeId: string;
}

/** An account of its own with the same orders for each of its symbols. */
export interface Market {
  readonly account: string;
  readonly isHedged: boolean;
  readonly symbols: readonly string[];
  readonly orders: readonly OrderPlan[];
}

/** What became of one batch, and where it stands in the order of commits; null: it stored nothing. */
export interface BookedBatch {
  readonly fills: readonly MarketFill[];
  readonly results: readonly TradeResult[];
  readonly seq: bigint | null;
}

export async function openMarket(
  server: TestServer,
  plan: Pick<Market, 'isHedged' | 'orders'> & { readonly symbols: number },
): Promise<Market> {
  const account = await makeAccount(server, { hedgeMode: plan.isHedged });
  const symbols = Array.from({ length: plan.symbols }, (_none, index) => `M${index}USDT`);
  const rows = symbols.flatMap((symbol, place) =>
    plan.orders.map(({ side, positionSide, quantity, reduceOnly }, order) => ({
      name: nameOf(place, order),
      symbol,
      side,
      positionSide,
      quantity: textOf(quantity),
      reduceOnly,
    })),
  );
  await server.sql`
    insert into orders (account_id, id, exchange, symbol, side, type, time_in_force, status,
      quantity, leverage, reduce_only, position_side, client_order_id, created_at, updated_at,
      item_hash)
    select ${account}, gen_random_uuid(), 'bybit', symbol, side, 'MARKET', 'GTC', 'PENDING',
      quantity, 1, "reduceOnly", "positionSide", name, now(), now(), ''
    from json_to_recordset(${JSON.stringify(rows)}::text::json) as row (
      name text, symbol text, side text, "positionSide" text, quantity numeric,
      "reduceOnly" boolean)`;
  return { account, isHedged: plan.isHedged, symbols, orders: plan.orders };
}

function nameOf(symbol: number, order: number): string {
  return `${symbol}-${order}`;
}

/** Sends fills as one batch, each answered for itself. @throws when the answer has errors */
export async function sendFills(
  server: TestServer,
  market: Market,
  fills: readonly MarketFill[],
): Promise<BookedBatch> {
  const items = fills.map(
    (fill): Item => ({
      clientOrderId: nameOf(fill.symbol, fill.order),
      exchangeTradeId: fill.exchangeTradeId,
      price: textOf(fill.price),
      quantity: textOf(fill.quantity),
      commission: textOf(fill.fee),
      executedAt: '2026-02-01T00:00:00.000000Z',
    }),
  );
  const input = { account: market.account, mode: 'PER_ITEM', items };
  const { data, errors, extensions } = await server.request<{
    recordTrades: { results: readonly TradeResult[] };
  }>(RECORD, { input });
  if (data === null || errors.length > 0) throw new Error(JSON.stringify(errors));
  const seq = extensions.commit?.[0]?.seq;
  return {
    fills,
    results: data.recordTrades.results,
    seq: seq === undefined ? null : BigInt(seq),
  };
}

export interface MarketState {
  /** Of each symbol, in no order. */
  readonly positions: readonly unknown[];
  readonly orders: readonly unknown[];
}

/** What the database holds, as texts. */
export async function readMarket({ sql }: TestServer, { account }: Market): Promise<MarketState> {
  const positions = await sql`
    select symbol, side, status, trim_scale(quantity)::text as quantity,
      trim_scale(entry_price)::text as entry, trim_scale(realized_pnl)::text as pnl,
      trim_scale(fees)::text as fees
    from positions where account_id = ${account}`;
  const orders = await sql`
    select client_order_id as name, status, trim_scale(filled_quantity)::text as filled,
      trim_scale(average_price)::text as average
    from orders where account_id = ${account}`;
  return { positions: sorted(positions), orders: sorted(orders) };
}

/** What the model makes of the batches, one after the other, and the code it gives to each fill. */
export function runModel(
  market: Market,
  batches: readonly (readonly MarketFill[])[],
): { readonly state: MarketState; readonly codes: readonly (readonly (string | null)[])[] } {
  const accounts = market.symbols.map(
    (): ModelAccount => ({
      isHedged: market.isHedged,
      orders: market.orders.map((order) => ({
        ...order,
        status: 'PENDING',
        filled: 0n,
        average: 0n,
      })),
      positions: [],
    }),
  );
  const codes = batches.map((fills) =>
    fills.map((fill) => {
      const account = accounts[fill.symbol];
      return account === undefined ? 'NOT_FOUND' : bookFill(account, fill).code;
    }),
  );
  const positions = accounts.flatMap((account, place) =>
    account.positions.map((position) => positionTexts(market.symbols[place] ?? '', position)),
  );
  const orders = accounts.flatMap((account, place) =>
    account.orders.map((order, number) => orderTexts(nameOf(place, number), order)),
  );
  return { state: { positions: sorted(positions), orders: sorted(orders) }, codes };
}

function positionTexts(symbol: string, { side, quantity, entry, pnl, fees }: ModelPosition) {
  return {
    symbol,
    side,
    status: quantity === 0n ? 'CLOSED' : 'OPEN',
    quantity: textOf(quantity),
    entry: textOf(entry),
    pnl: textOf(pnl),
    fees: textOf(fees),
  };
}

function orderTexts(name: string, { status, filled, average }: ModelOrder) {
  return {
    name,
    status,
    filled: textOf(filled),
    average: filled === 0n ? null : textOf(average),
  };
}

function sorted(rows: readonly object[]): readonly unknown[] {
  const texts = rows.map((row) => JSON.stringify(Object.entries(row)));
  return texts.sort().map((text) => Object.fromEntries(JSON.parse(text)) as unknown);
}
