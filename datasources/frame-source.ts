import type { CandleSeries } from './candle.ts';
import {
  CANDLE_COLUMNS,
  type FrameColumn,
  type FrameColumns,
  HORIZON_COLUMNS,
  MARK_COLUMNS,
  POSITION_COLUMNS,
  PREDICTION_COLUMNS,
  TRADE_COLUMNS,
} from './frame-column.ts';
import type { TimeRange } from './keyset.ts';
import { type PositionWhere, positionConditions } from './position.ts';
import { type PredictionWhere, predictionConditions } from './prediction.ts';
import { fragment, type SqlStatement } from './sql.ts';
import { type TradeWhere, tradeConditions } from './trade.ts';

export interface CandleWhere extends CandleSeries {
  /** from <= openTime < to */
  readonly range?: TimeRange | null;
}

export interface FrameKey {
  readonly value: SqlStatement<unknown>;
  readonly type: SqlStatement<unknown>;
  /** Below every key that there is. */
  readonly least: string;
  /** No key is above it. */
  readonly most: string;
}

/** The rows of a frame in SQL, for these columns. */
export interface FrameSource {
  /** Whose ids, and whose log, they are. */
  readonly accountId: string;
  /** `from … where …`; more conditions may follow. */
  readonly rows: SqlStatement<unknown>;
  /** What the rows are ordered by, together unique among them. */
  readonly keys: readonly [FrameKey, ...FrameKey[]];
  /** The columns asked for, in their order. */
  readonly columns: readonly (readonly [name: string, column: FrameColumn])[];
}

export function predictionSource(
  accountId: string,
  where: PredictionWhere,
  names: readonly string[],
): FrameSource {
  const columns = pick({ ...PREDICTION_COLUMNS, ...HORIZON_COLUMNS }, names);
  const matching = fragment`where predictions.account_id = ${accountId} ${predictionConditions(where)}`;
  if (!hasOneOf(HORIZON_COLUMNS, names)) {
    const rows = fragment`from predictions ${matching}`;
    return { accountId, columns, rows, keys: [idKey(fragment`predictions.id`)] };
  }
  return {
    accountId,
    columns,
    // Offset 0 keeps it a look-up for each prediction. As a join, where the newest partitions have no
    // statistics yet, it may become a scan for each.
    rows: fragment`
      from predictions
      cross join lateral (
        select horizon_minutes, direction, confidence, predicted_return, actual_return,
          actual_direction, correct
        from prediction_horizons
        where account_id = ${accountId} and prediction_id = predictions.id
        offset 0
      ) as horizon
      ${matching}`,
    keys: [
      idKey(fragment`predictions.id`),
      {
        value: fragment`horizon.horizon_minutes`,
        type: fragment`int`,
        least: '0',
        most: '2147483647',
      },
    ],
  };
}

export function tradeSource(
  accountId: string,
  where: TradeWhere,
  names: readonly string[],
): FrameSource {
  return {
    accountId,
    columns: pick(TRADE_COLUMNS, names),
    rows: fragment`from trades where trades.account_id = ${accountId} ${tradeConditions(where)}`,
    keys: [idKey(fragment`trades.id`)],
  };
}

export function positionSource(
  accountId: string,
  where: PositionWhere,
  names: readonly string[],
): FrameSource {
  return {
    accountId,
    columns: pick({ ...POSITION_COLUMNS, ...MARK_COLUMNS }, names),
    rows: fragment`
      from positions ${hasOneOf(MARK_COLUMNS, names) ? withMarks : fragment``}
      where positions.account_id = ${accountId} ${positionConditions(where)}`,
    keys: [idKey(fragment`positions.id`)],
  };
}

// A look-up for each position, as that of horizons. Names are others there than in positions, whose
// conditions do not say that they are of positions.
const withMarks = fragment`
  left join lateral (
    select price as mark_price from marks
    where marks.account_id = positions.account_id and marks.exchange = positions.exchange
      and marks.symbol = positions.symbol
    offset 0
  ) as mark on true
  cross join lateral (
    select (mark.mark_price - positions.entry_price) * positions.quantity
      * case positions.side when 'LONG' then 1 else -1 end as exact
  ) as gain`;

export function candleSource(where: CandleWhere, names: readonly string[]): FrameSource {
  const { exchange, symbol, interval, range } = where;
  return {
    accountId: '_system',
    columns: pick(CANDLE_COLUMNS, names),
    rows: fragment`
      from candles
      where exchange = ${exchange} and symbol = ${symbol} and interval = ${interval}
        ${range?.from ? fragment`and open_time >= ${range.from}` : fragment``}
        ${range?.to ? fragment`and open_time < ${range.to}` : fragment``}`,
    keys: [
      {
        value: fragment`candles.open_time`,
        type: fragment`timestamptz`,
        least: '-infinity',
        most: 'infinity',
      },
    ],
  };
}

function idKey(value: SqlStatement<unknown>): FrameKey {
  return {
    value,
    type: fragment`uuid`,
    least: '00000000-0000-0000-0000-000000000000',
    most: 'ffffffff-ffff-ffff-ffff-ffffffffffff',
  };
}

function hasOneOf(columns: FrameColumns, names: readonly string[]): boolean {
  return names.some((name) => Object.hasOwn(columns, name));
}

function pick(columns: FrameColumns, names: readonly string[]): FrameSource['columns'] {
  return names.map((name) => {
    const column = Object.hasOwn(columns, name) ? columns[name] : undefined;
    if (column === undefined) throw new Error(`no column ${name} of a frame`);
    return [name, column] as const;
  });
}
