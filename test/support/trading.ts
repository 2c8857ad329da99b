import type { Batch, BatchOptions, PositionNode, Result } from './documents.ts';
import { inputOf } from './documents.ts';
import { type Item, makeSymbol } from './make.ts';
import type { TestServer } from './server.ts';

/** Orders and fills: their documents, the types of the answers, and items that are accepted. */

export interface OrderNode {
  readonly id: string;
  readonly exchange: string;
  readonly symbol: string;
  readonly side: string;
  readonly type: string;
  readonly status: string;
  readonly price: string | null;
  readonly quantity: string;
  readonly filledQuantity: string;
  readonly averagePrice: string | null;
  readonly stopLossPrice: string | null;
  readonly reduceOnly: boolean;
  readonly positionSide: string;
  readonly clientOrderId: string;
  readonly exchangeOrderId: string | null;
  readonly reason: string | null;
  readonly closedAt: string | null;
  readonly version: number;
}

export interface TradeNode {
  readonly id: string;
  readonly side: string;
  readonly price: string;
  readonly quantity: string;
  readonly commission: string;
  readonly commissionAsset: string | null;
  readonly realizedPnl: string;
  readonly exchangeTradeId: string | null;
  readonly executedAt: string;
}

export type OrderResult = Result & { readonly order: OrderNode | null };
export type TradeResult = Result & {
  readonly trade: TradeNode | null;
  readonly order: OrderNode | null;
  readonly position: PositionNode | null;
  readonly openedPosition: PositionNode | null;
  readonly warnings: readonly string[];
};

const COUNTS = `counts {
  created updated unchanged replayed conflict notFound rejected notAttempted
}`;
const ERROR = 'error { code message path }';
const ORDER = `fragment order on Order {
  id exchange symbol side type timeInForce status price stopPrice quantity filledQuantity
  averagePrice stopLossPrice takeProfitPrice trailBy leverage reduceOnly positionSide expiresAt
  clientOrderId exchangeOrderId strategy reason metadata createdAt updatedAt closedAt version
}`;
// Without the mark, which is a statement of its own.
const MOVED = `fragment moved on Position {
  id exchange symbol side status quantity entryPrice stopLossPrice takeProfitPrice leverage
  realizedPnl fees strategy closeReason openedAt updatedAt closedAt version
}`;

function ordersDocument(field: string): string {
  const type = `${field.charAt(0).toUpperCase()}${field.slice(1)}Input`;
  return `mutation ${field}($input: ${type}!) {
    ${field}(input: $input) { ${COUNTS} results { index status ${ERROR} order { ...order } } }
  } ${ORDER}`;
}

export const PLACE: string = ordersDocument('placeOrders');
export const AMEND: string = ordersDocument('updateOrders');
export const CANCEL: string = ordersDocument('cancelOrders');
export const RECORD = `mutation recordTrades($input: RecordTradesInput!) {
  recordTrades(input: $input) {
    ${COUNTS}
    results {
      index status warnings ${ERROR} order { ...order } position { ...moved }
      openedPosition { ...moved }
      trade {
        id side price quantity commission commissionAsset realizedPnl exchangeTradeId executedAt
      }
    }
  }
} ${ORDER} ${MOVED}`;

type Send<Payload> = (
  server: TestServer,
  items: readonly Item[],
  options?: BatchOptions,
) => Promise<Payload>;

function sender<Payload>(document: string, field: string): Send<Payload> {
  return async (server, items, options = {}) => {
    const data = await server.data<Readonly<Record<string, Payload>>>(
      document,
      inputOf(items, options),
      options,
    );
    const payload = data[field];
    if (payload === undefined) throw new Error(`no ${field} in the answer`);
    return payload;
  };
}

export const place: Send<Batch<OrderResult>> = sender(PLACE, 'placeOrders');
export const amend: Send<Batch<OrderResult>> = sender(AMEND, 'updateOrders');
export const record: Send<Batch<TradeResult>> = sender(RECORD, 'recordTrades');

export async function cancel(server: TestServer, input: Item): Promise<Batch<OrderResult>> {
  const data = await server.data<{ cancelOrders: Batch<OrderResult> }>(CANCEL, {
    input: { account: 'main', ...input },
  });
  return data.cancelOrders;
}

let made = 0;

/** A name that nothing else of the file has. */
export function makeName(): string {
  made += 1;
  return `n${made}`;
}

/** To buy 2 at 100. */
export function orderItem(changes: Item = {}): Item {
  return {
    clientOrderId: makeName(),
    exchange: 'bybit',
    symbol: makeSymbol(),
    side: 'BUY',
    type: 'LIMIT',
    price: '100',
    quantity: '2',
    ...changes,
  };
}

export const EXECUTED_AT = '2026-02-01T00:00:00.000000Z';

/** Of 1 at 100. */
export function fillItem(order: string, changes: Item = {}): Item {
  return {
    clientOrderId: order,
    exchangeTradeId: makeName(),
    price: '100',
    quantity: '1',
    executedAt: EXECUTED_AT,
    ...changes,
  };
}

export function orderOf(result: OrderResult | TradeResult | undefined): OrderNode {
  if (!result?.order) throw new Error(`no order in ${JSON.stringify(result)}`);
  return result.order;
}

/** The order that an accepted item placed. */
export async function placeOne(
  server: TestServer,
  changes: Item = {},
  options: BatchOptions = {},
): Promise<OrderNode> {
  const { results } = await place(server, [orderItem(changes)], options);
  return orderOf(results[0]);
}

/** The one result of an accepted fill. */
export async function recordOne(
  server: TestServer,
  item: Item,
  options: BatchOptions = {},
): Promise<TradeResult> {
  const { results } = await record(server, [item], options);
  const [result] = results;
  if (result === undefined) throw new Error('no result');
  return result;
}

/** An account of its own, for a mode or a trading state. */
export async function makeAccount(
  { sql }: Pick<TestServer, 'sql'>,
  { hedgeMode = false, tradingState = 'ACTIVE' } = {},
): Promise<string> {
  const id = makeName();
  await sql`insert into accounts (id, name, hedge_mode) values (${id}, ${id}, ${hedgeMode})`;
  await sql`insert into account_heads (account_id, trading_state) values (${id}, ${tradingState})`;
  return id;
}

/** Placed and moved to a state of the machine. */
export async function orderIn(server: TestServer, status: string): Promise<OrderNode> {
  const { id, clientOrderId } = await placeOne(server);
  if (status === 'PARTIALLY_FILLED' || status === 'FILLED') {
    const quantity = status === 'FILLED' ? '2' : '1';
    return orderOf(await recordOne(server, fillItem(clientOrderId, { quantity })));
  }
  const { results } = await amend(server, status === 'PENDING' ? [{ id }] : [{ id, status }]);
  return orderOf(results[0]);
}
