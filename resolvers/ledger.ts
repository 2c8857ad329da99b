import type { Update } from '../datasources/change-recorder.ts';
import type { FilledRows } from '../datasources/fill.ts';
import type { FillableOrder, Order } from '../datasources/order.ts';
import type { Position } from '../datasources/position.ts';
import type { NewTrade, Trade } from '../datasources/trade.ts';
import { ItemRefusal } from './batch.ts';
import { type Book, foldFill, type Folded } from './fold.ts';
import { instrumentOf } from './position.ts';
import type { CheckedFill, TradeResult } from './record-trade.ts';

export interface LedgerRows {
  /** The instant of the unit of work. */
  readonly at: string;
  /** Fills booked before, under natural keys of this batch. */
  readonly known: readonly NewTrade[];
  /** The locked open positions, and those of the known fills. */
  readonly positions: readonly Position[];
  /** By instrument. */
  readonly marks: ReadonlyMap<string, string>;
}

/** A booked fill, new or known. */
export interface Booking {
  readonly status: 'CREATED' | 'REPLAYED';
  readonly trade: NewTrade;
  /** As it was before the batch. */
  readonly order: Order;
  readonly warnings: readonly string[];
}

/** The rows of one batch of fills, as each fill finds them: folded in memory, then written once. */
export interface Ledger {
  /** @throws ItemRefusal TRADE_ID_REUSED, and those of `foldFill` */
  book(target: FillableOrder, fill: CheckedFill, tradeId: string): Booking;
  /** The order as the batch leaves it. */
  orderOf(order: Order): Order;
  /** What an item answers, with the rows as the batch leaves them. */
  resultOf(booking: Booking): Omit<TradeResult, 'index' | 'error'>;
  /** What is to be written. */
  rows(): FilledRows;
}

export function createLedger({ at, known, positions, marks }: LedgerRows): Ledger {
  const orders = createSheet<Order>(at);
  const moved = createSheet<Position>(at);
  const held = new Map(positions.map((position) => [position.id, position]));
  const books = new Map<string, Book>();
  for (const position of positions) {
    if (position.status !== 'OPEN') continue;
    const key = instrumentOf(position);
    books.set(key, { ...(books.get(key) ?? EMPTY_BOOK), [position.side]: position });
  }
  const trades = new Map(known.map((trade) => [fillKey(trade.orderId, trade), trade]));
  const written: NewTrade[] = [];

  function book(target: FillableOrder, fill: CheckedFill, tradeId: string): Booking {
    const order = orders.current(target.order.id) ?? target.order;
    const key = fillKey(order.id, fill);
    const earlier = trades.get(key);
    if (earlier !== undefined) return replay(target.order, fill, earlier);
    const instrument = instrumentOf(order);
    const { fee, warnings } = feeOf(fill, order.symbol, target.quoteAsset);
    const folded = foldFill(
      order,
      books.get(instrument) ?? EMPTY_BOOK,
      { ...fill, fee },
      { hedgeMode: target.hedgeMode, at, mark: marks.get(instrument) ?? null },
    );
    orders.put(target.order, folded.order);
    books.set(instrument, folded.book);
    for (const position of [folded.position, folded.openedPosition]) {
      if (position !== null) moved.put(held.get(position.id) ?? null, position);
    }
    const trade = tradeOf(tradeId, order, fill, folded);
    trades.set(key, trade);
    written.push(trade);
    const all = [...warnings, ...folded.warnings];
    return { status: 'CREATED', trade, order: target.order, warnings: all };
  }

  const orderOf = (order: Order) => orders.final(order.id) ?? order;
  const positionOf = (id: string | null) =>
    id === null ? null : (moved.final(id) ?? held.get(id) ?? null);

  return {
    book,
    orderOf,
    resultOf: ({ status, trade, order, warnings }) => ({
      status,
      trade,
      order: orderOf(order),
      position: positionOf(trade.positionId),
      openedPosition: positionOf(trade.openedPositionId),
      warnings,
    }),
    rows: () => ({
      orders: orders.updates(),
      moved: moved.updates(),
      opened: moved.inserts().map((row) => ({ ...row, clientId: null, itemHash: null })),
      trades: written,
    }),
  };
}

interface SheetRow {
  readonly id: string;
  readonly updatedAt: string;
  readonly version: number;
}

/** The rows of one table that a batch changes; a row gets one new version, however often. */
function createSheet<Row extends SheetRow>(at: string) {
  const rows = new Map<string, { readonly before: Row | null; readonly current: Row }>();

  function final(id: string): Row | null {
    const row = rows.get(id);
    if (row === undefined) return null;
    const { before, current } = row;
    return { ...current, updatedAt: at, version: before === null ? 1 : before.version + 1 };
  }

  return {
    put(before: Row | null, current: Row): void {
      rows.set(current.id, { before, current });
    },
    current: (id: string): Row | null => rows.get(id)?.current ?? null,
    final,
    inserts: (): readonly Row[] =>
      [...rows].flatMap(([id, { before }]) => (before === null ? (final(id) ?? []) : [])),
    updates: (): readonly Update<Row>[] =>
      [...rows].flatMap(([id, { before }]) => {
        const next = final(id);
        return before === null || next === null ? [] : [{ before, next }];
      }),
  };
}

const EMPTY_BOOK: Book = { LONG: null, SHORT: null };

/** Within a batch an order has one instrument, so its id and the exchange's are the natural key. */
function fillKey(orderId: string | null, fill: Pick<Trade, 'exchangeTradeId'>): string {
  return `${orderId} ${fill.exchangeTradeId}`;
}

function replay(order: Order, fill: CheckedFill, trade: NewTrade): Booking {
  if (trade.itemHash === fill.hash) return { status: 'REPLAYED', trade, order, warnings: [] };
  throw new ItemRefusal(
    'CONFLICT',
    'TRADE_ID_REUSED',
    `The exchangeTradeId ${fill.exchangeTradeId} of this order is another fill's.`,
    ['exchangeTradeId'],
  );
}

function tradeOf(id: string, order: Order, fill: CheckedFill, folded: Folded): NewTrade {
  return {
    accountId: order.accountId,
    id,
    exchange: order.exchange,
    symbol: order.symbol,
    side: order.side,
    price: fill.price,
    quantity: fill.quantity,
    commission: fill.commission,
    commissionAsset: fill.commissionAsset,
    realizedPnl: folded.realizedPnl,
    exchangeTradeId: fill.exchangeTradeId,
    strategy: order.strategy,
    executedAt: fill.executedAt,
    orderId: order.id,
    positionId: folded.position.id,
    openedPositionId: folded.openedPosition?.id ?? null,
    clientId: null,
    itemHash: fill.hash,
  };
}

/** What of a commission counts as a fee: what is paid in quote currency. */
function feeOf(
  { commission, commissionAsset }: CheckedFill,
  symbol: string,
  quoteAsset: string | null,
): { readonly fee: string; readonly warnings: readonly string[] } {
  if (commissionAsset === null || commission === '0') return { fee: commission, warnings: [] };
  const isQuote =
    quoteAsset === null ? namesQuote(symbol, commissionAsset) : quoteAsset === commissionAsset;
  if (isQuote) return { fee: commission, warnings: [] };
  const warning =
    `COMMISSION_NOT_IN_QUOTE: ${commission} ${commissionAsset} stand on the trade and are not ` +
    `summed into the fees of the position, which are in the quote currency of ${symbol}.`;
  return { fee: '0', warnings: [warning] };
}

/** `BTCUSDT` ends with its quote asset; `BTC-USDT-SWAP` and `BTC/USDT:USDT` name it second. */
function namesQuote(symbol: string, asset: string): boolean {
  const parts = symbol.split(/[-/_:.]/);
  return parts.length > 1 ? parts[1] === asset : symbol.endsWith(asset);
}
