import type { Side } from './inputs.ts';

const POSITION = `
  fragment DemoPosition on Position {
    id exchange symbol side status quantity entryPrice stopLossPrice takeProfitPrice leverage
    stopTriggeredKind strategy metadata version
  }`;

/**
 * History: candles and what the model says to them, so a restart finds both or neither. What the
 * candles say about earlier predictions is stored with them.
 */
export const LOG_HISTORY = `
  mutation DemoHistory(
    $candles: IngestCandlesInput!, $predictions: LogPredictionsInput!
    $outcomes: EvaluateOutcomesInput!
  ) {
    ingestCandles(input: $candles) { created updated unchanged }
    logPredictions(input: $predictions) { counts { created replayed conflict rejected } }
    evaluateOutcomes(input: $outcomes) { resolved }
  }`;

const MARKED = 'updated triggered { kind position { ...DemoPosition } }';

/** The present: the same, and the way of the price, which may cross stops. */
export const LOG_STEP = `
  mutation DemoStep(
    $candles: IngestCandlesInput!, $predictions: LogPredictionsInput!
    $outcomes: EvaluateOutcomesInput!
    $first: MarkPricesInput!, $second: MarkPricesInput!, $last: MarkPricesInput!
  ) {
    ingestCandles(input: $candles) { created updated unchanged }
    logPredictions(input: $predictions) { counts { created replayed conflict rejected } }
    evaluateOutcomes(input: $outcomes) { resolved }
    first: markPrices(input: $first) { ${MARKED} }
    second: markPrices(input: $second) { ${MARKED} }
    last: markPrices(input: $last) { ${MARKED} }
  }${POSITION}`;

export const MARK_PRICES = `
  mutation DemoMarks(
    $first: MarkPricesInput!, $second: MarkPricesInput!, $last: MarkPricesInput!
  ) {
    first: markPrices(input: $first) { ${MARKED} }
    second: markPrices(input: $second) { ${MARKED} }
    last: markPrices(input: $last) { ${MARKED} }
  }${POSITION}`;

export interface MarksData {
  readonly first: Marked;
  readonly second: Marked;
  readonly last: Marked;
}

interface Marked {
  readonly updated: number;
  readonly triggered: readonly { readonly position: PositionRow }[];
}

const RESULT = 'status error { code }';

/** The fields of a unit of trading, in the order in which they run. */
const TRADE_FIELDS = {
  cancels: ['CancelOrdersInput', `cancelOrders(input: $cancels) { results { ${RESULT} } }`],
  orders: ['PlaceOrdersInput', `placeOrders(input: $orders) { results { ${RESULT} } }`],
  reports: ['UpdateOrdersInput', `updateOrders(input: $reports) { results { ${RESULT} } }`],
  fills: [
    'RecordTradesInput',
    `recordTrades(input: $fills) {
      results {
        ${RESULT}
        trade { commission realizedPnl }
        position { ...DemoPosition }
        openedPosition { ...DemoPosition }
      }
    }`,
  ],
  positions: [
    'UpdatePositionsInput',
    `updatePositions(input: $positions) { results { ${RESULT} position { ...DemoPosition } } }`,
  ],
  signals: ['CreateSignalsInput', `createSignals(input: $signals) { results { ${RESULT} } }`],
  balances: ['UpsertBalancesInput', 'upsertBalances(input: $balances) { balances { total } }'],
} as const;

export type TradeField = keyof typeof TRADE_FIELDS;

/** The document of one unit of work with these fields: a batch of nothing is no batch. */
export function tradeDocument(wanted: ReadonlySet<TradeField>): string {
  const fields = Object.entries(TRADE_FIELDS).filter(([name]) => wanted.has(name as TradeField));
  const variables = fields.map(([name, [type]]) => `$${name}: ${type}!`).join(', ');
  const body = fields.map(([name, [, field]]) => `    ${name}: ${field}`).join('\n');
  const hasPosition = wanted.has('fills') || wanted.has('positions');
  return `
  mutation DemoTrade(${variables}) {
${body}
  }${hasPosition ? POSITION : ''}`;
}

/** By field; absent: it was not asked for. */
export interface TradeData {
  readonly cancels?: Results<ItemResult>;
  readonly orders?: Results<ItemResult>;
  readonly reports?: Results<ItemResult>;
  readonly fills?: Results<FillResult>;
  readonly positions?: Results<ItemResult & { readonly position: PositionRow | null }>;
  readonly signals?: Results<ItemResult>;
}

interface Results<Result> {
  readonly results: readonly Result[];
}

interface ItemResult {
  readonly status: string;
  readonly error: { readonly code: string } | null;
}

interface FillResult extends ItemResult {
  readonly trade: { readonly commission: string; readonly realizedPnl: string } | null;
  readonly position: PositionRow | null;
  readonly openedPosition: PositionRow | null;
}

export const CANCEL_ALL = `
  mutation DemoCancelAll($input: CancelOrdersInput!) {
    cancelOrders(input: $input) { counts { updated } }
  }`;

export const LIST_BALANCES = `
  query DemoBalances($account: ID, $exchange: String) {
    balances(account: $account, exchange: $exchange) { asset total }
  }`;

export interface ListBalancesData {
  readonly balances: readonly { readonly asset: string; readonly total: string }[] | null;
}

export const LIST_POSITIONS = `
  query DemoPositions($account: ID, $where: PositionWhere, $first: Int) {
    positions(account: $account, where: $where, first: $first) { nodes { ...DemoPosition } }
  }${POSITION}`;

export interface ListPositionsData {
  readonly positions: { readonly nodes: readonly PositionRow[] } | null;
}

export const LAST_CANDLE = `
  query DemoLastCandle($exchange: String!, $symbol: String!, $range: TimeRange) {
    candles(exchange: $exchange, symbol: $symbol, interval: "15m", range: $range, last: 1) {
      openTime close
    }
  }`;

export interface LastCandleData {
  readonly candles: readonly { readonly openTime: string; readonly close: string }[] | null;
}

export const FOLLOW_POSITIONS = `
  subscription DemoChanges($account: ID, $where: PositionWhere, $after: String) {
    positionChanges(account: $account, where: $where, after: $after, marks: false) {
      kind cursor position { ...DemoPosition }
    }
  }${POSITION}`;

export interface PositionEvent {
  readonly kind: 'SNAPSHOT' | 'CAUGHT_UP' | 'CHANGE' | 'LEFT' | 'HEARTBEAT' | 'RESET';
  readonly cursor: string;
  readonly position: PositionRow | null;
}

export interface PositionRow {
  readonly id: string;
  readonly exchange: string;
  readonly symbol: string;
  readonly side: Side;
  readonly status: 'OPEN' | 'CLOSED' | 'LIQUIDATED';
  readonly quantity: string;
  readonly entryPrice: string;
  readonly stopLossPrice: string | null;
  readonly takeProfitPrice: string | null;
  readonly leverage: string;
  readonly stopTriggeredKind: 'STOP_LOSS' | 'TAKE_PROFIT' | null;
  readonly strategy: string | null;
  readonly metadata: unknown;
  readonly version: number;
}
