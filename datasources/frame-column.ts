import { fragment, type SqlStatement } from './sql.ts';

/**
 * How a column is written: `plain` as PostgreSQL does; `word` is one of a few words that need no
 * quoting; the last four are global ids; the others are as elsewhere in the API. Words and instants
 * are never null, but `late` instants may be.
 */
type ColumnKind =
  | 'plain'
  | 'word'
  | 'text'
  | 'decimal'
  | 'instant'
  | 'late'
  | 'order'
  | 'position'
  | 'prediction'
  | 'trade';

export type DecimalFormat = 'STRING' | 'FLOAT';

export interface FrameColumn {
  readonly kind: ColumnKind;
  readonly value: SqlStatement<unknown>;
}

/** The columns of a frame by the names they have in the API. */
export type FrameColumns = Readonly<Record<string, FrameColumn>>;

const plain = (value: SqlStatement<unknown>): FrameColumn => ({ kind: 'plain', value });
const word = (value: SqlStatement<unknown>): FrameColumn => ({ kind: 'word', value });
const text = (value: SqlStatement<unknown>): FrameColumn => ({ kind: 'text', value });
const decimal = (value: SqlStatement<unknown>): FrameColumn => ({ kind: 'decimal', value });
const instant = (value: SqlStatement<unknown>): FrameColumn => ({ kind: 'instant', value });

/** Of each horizon: with one of them a frame has a row for each horizon. */
export const HORIZON_COLUMNS: FrameColumns = {
  horizonMinutes: plain(fragment`horizon.horizon_minutes`),
  direction: word(fragment`horizon.direction`),
  confidence: plain(fragment`horizon.confidence`),
  predictedReturn: plain(fragment`horizon.predicted_return`),
  actualReturn: plain(fragment`horizon.actual_return`),
  actualDirection: plain(fragment`horizon.actual_direction`),
  correct: plain(fragment`horizon.correct`),
};

export const PREDICTION_COLUMNS: FrameColumns = {
  id: { kind: 'prediction', value: fragment`predictions.id` },
  predictedAt: instant(fragment`predictions.predicted_at`),
  exchange: text(fragment`predictions.exchange`),
  symbol: text(fragment`predictions.symbol`),
  interval: text(fragment`predictions.interval`),
  modelVersion: text(fragment`predictions.model_version`),
  signal: word(fragment`predictions.signal`),
  signalConfidence: plain(fragment`predictions.signal_confidence`),
  price: decimal(fragment`predictions.price`),
  riskScore: plain(fragment`predictions.risk_score`),
  inferenceTimeMs: plain(fragment`predictions.inference_time_ms`),
};

export const TRADE_COLUMNS: FrameColumns = {
  id: { kind: 'trade', value: fragment`trades.id` },
  executedAt: instant(fragment`trades.executed_at`),
  exchange: text(fragment`trades.exchange`),
  symbol: text(fragment`trades.symbol`),
  side: word(fragment`trades.side`),
  price: decimal(fragment`trades.price`),
  quantity: decimal(fragment`trades.quantity`),
  commission: decimal(fragment`trades.commission`),
  realizedPnl: decimal(fragment`trades.realized_pnl`),
  strategy: text(fragment`trades.strategy`),
  orderId: { kind: 'order', value: fragment`trades.order_id` },
  positionId: { kind: 'position', value: fragment`trades.position_id` },
};

/** With one of them the marks are read. */
export const MARK_COLUMNS: FrameColumns = {
  markPrice: decimal(fragment`mark.mark_price`),
  // As `unrealizedPnl` of resolvers/position.ts has it, rounded half-even to 18 digits.
  unrealizedPnl: decimal(fragment`
    case when positions.status <> 'OPEN' or mark.mark_price is null then 0
      when abs(gain.exact - trunc(gain.exact, 18)) = 0.0000000000000000005
        and mod(trunc(gain.exact, 18), 0.000000000000000002) = 0
      then trunc(gain.exact, 18)
      else round(gain.exact, 18)
    end`),
};

export const POSITION_COLUMNS: FrameColumns = {
  id: { kind: 'position', value: fragment`positions.id` },
  openedAt: instant(fragment`positions.opened_at`),
  closedAt: { kind: 'late', value: fragment`positions.closed_at` },
  exchange: text(fragment`positions.exchange`),
  symbol: text(fragment`positions.symbol`),
  side: word(fragment`positions.side`),
  status: word(fragment`positions.status`),
  quantity: decimal(fragment`positions.quantity`),
  entryPrice: decimal(fragment`positions.entry_price`),
  realizedPnl: decimal(fragment`positions.realized_pnl`),
  fees: decimal(fragment`positions.fees`),
  strategy: text(fragment`positions.strategy`),
};

export const CANDLE_COLUMNS: FrameColumns = {
  openTime: instant(fragment`candles.open_time`),
  open: decimal(fragment`candles.open`),
  high: decimal(fragment`candles.high`),
  low: decimal(fragment`candles.low`),
  close: decimal(fragment`candles.close`),
  volume: decimal(fragment`candles.volume`),
};

/** The value of one row as it is shown. */
export function shownAs(
  { kind, value }: FrameColumn,
  accountId: string,
  decimals: DecimalFormat,
): SqlStatement<unknown> {
  switch (kind) {
    case 'plain':
    case 'word':
    case 'text':
      return value;
    case 'decimal':
      return decimals === 'FLOAT'
        ? fragment`(${value})::float8`
        : fragment`trim_scale(${value})::text`;
    case 'instant':
    case 'late':
      // The session's zone is UTC.
      return fragment`to_char(${value}, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;
    default:
      return fragment`${`${kind}.${accountId}.`}::text || ${value}`;
  }
}

/** What `arrayOf` is given for each row. */
export function itemOf(
  column: FrameColumn,
  accountId: string,
  decimals: DecimalFormat,
): SqlStatement<unknown> {
  // The text that PostgreSQL has for it: `2026-01-15 12:00:00.5`. to_char takes five times as long.
  if (column.kind === 'instant') return fragment`(${column.value} at time zone 'UTC')::text`;
  return shownAs(column, accountId, decimals);
}

/** The JSON array of a column's items in the order of the rows; null where there are none. */
export function arrayOf({ kind }: FrameColumn, item: SqlStatement<unknown>): SqlStatement<unknown> {
  switch (kind) {
    case 'word':
      return fragment`'["' || string_agg(${item}, '","') || '"]'`;
    case 'instant':
      return fragment`'["' || replace(string_agg(${item} || case octet_length(${item})
        when 19 then '.000000Z'
        else substr('.000000Z', octet_length(${item}) - 18)
      end, '","'), ' ', 'T') || '"]'`;
    default:
      return fragment`json_agg(${item})::text`;
  }
}
