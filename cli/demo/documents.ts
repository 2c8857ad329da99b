import type { Side } from './inputs.ts';

const POSITION = `
  fragment DemoPosition on Position {
    id symbol side status quantity entryPrice stopLossPrice takeProfitPrice
    realizedPnl fees metadata version
  }`;

/** Candles and what the model says to them: one unit of work, so a restart finds both or neither. */
export const LOG_MARKET = `
  mutation DemoMarket($candles: IngestCandlesInput!, $predictions: LogPredictionsInput!) {
    ingestCandles(input: $candles) { created updated unchanged }
    logPredictions(input: $predictions) { counts { created replayed conflict rejected } }
  }`;

export interface LogMarketData {
  readonly ingestCandles: { readonly created: number };
  readonly logPredictions: { readonly counts: { readonly created: number } };
}

export const OPEN_POSITIONS = `
  mutation DemoOpen($input: OpenPositionsInput!) {
    positions: openPositions(input: $input) {
      results { status position { ...DemoPosition } error { code message } }
    }
  }${POSITION}`;

export const UPDATE_POSITIONS = `
  mutation DemoUpdate($input: UpdatePositionsInput!) {
    positions: updatePositions(input: $input) {
      results { status position { ...DemoPosition } error { code message } }
    }
  }${POSITION}`;

export const CLOSE_POSITIONS = `
  mutation DemoClose($input: ClosePositionsInput!) {
    positions: closePositions(input: $input) {
      results { status position { ...DemoPosition } error { code message } }
    }
  }${POSITION}`;

export interface PositionsData {
  readonly positions: { readonly results: readonly PositionResult[] };
}

interface PositionResult {
  readonly status: string;
  readonly position: PositionRow | null;
  readonly error: { readonly code: string; readonly message: string } | null;
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
  readonly symbol: string;
  readonly side: Side;
  readonly status: 'OPEN' | 'CLOSED' | 'LIQUIDATED';
  readonly quantity: string;
  readonly entryPrice: string;
  readonly stopLossPrice: string | null;
  readonly takeProfitPrice: string | null;
  readonly realizedPnl: string;
  readonly fees: string;
  readonly metadata: unknown;
  readonly version: number;
}
