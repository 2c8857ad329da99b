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
import { idsWithin, type TimeRange } from './keyset.ts';
import { type PositionWhere, positionConditions } from './position.ts';
import { type PredictionWhere, predictionConditions } from './prediction.ts';
import { fragment, type SqlStatement } from './sql.ts';
import { type TradeWhere, tradeConditions } from './trade.ts';

export interface CandleWhere extends CandleSeries {
  /** from <= openTime < to */
  readonly range?: TimeRange | null;
}

/** The rows of a frame in SQL, for these columns. */
export interface FrameSource {
  /** Whose ids, and whose log, they are. */
  readonly accountId: string;
  /** `from … where …`; more conditions may follow. */
  readonly rows: SqlStatement<unknown>;
  /** What the rows are ordered by, unique among them. */
  readonly key: SqlStatement<unknown>;
  readonly keyDescending: SqlStatement<unknown>;
  /** Whether a row is newer than the one whose key stands in `bound`; all are when that is empty. */
  readonly isNewer: SqlStatement<unknown>;
  /** The columns asked for, in their order. */
  readonly columns: readonly (readonly [name: string, column: FrameColumn])[];
}

export function predictionSource(
  accountId: string,
  where: PredictionWhere,
  names: readonly string[],
): FrameSource {
  const columns = pick({ ...PREDICTION_COLUMNS, ...HORIZON_COLUMNS }, names);
  const rows = fragment`
    from predictions
    where predictions.account_id = ${accountId} ${predictionConditions(where)}`;
  if (!hasOneOf(HORIZON_COLUMNS, names)) {
    return { accountId, rows, columns, ...byId(fragment`predictions.id`) };
  }
  return {
    accountId,
    columns,
    rows: fragment`
      from predictions
      join prediction_horizons as horizon on horizon.prediction_id = predictions.id
        and horizon.account_id = ${accountId} ${idsWithin(fragment`horizon.prediction_id`, where.predictedAt)}
      where predictions.account_id = ${accountId} ${predictionConditions(where)}`,
    key: fragment`predictions.id, horizon.horizon_minutes`,
    keyDescending: fragment`predictions.id desc, horizon.horizon_minutes desc`,
    // The first two bound both tables, which the third does not.
    isNewer: fragment`
      predictions.id >= ${boundId} and horizon.prediction_id >= ${boundId}
      and (predictions.id, horizon.horizon_minutes) >
        (${boundId}, coalesce((select horizon_minutes from bound), 0))`,
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
    ...byId(fragment`trades.id`),
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
    ...byId(fragment`positions.id`),
  };
}

// Under other names: the conditions name columns of positions without saying so.
const withMarks = fragment`
  left join (
    select account_id as marked_account, exchange as marked_exchange, symbol as marked_symbol, price
    from marks
  ) as mark on mark.marked_account = positions.account_id
    and mark.marked_exchange = positions.exchange and mark.marked_symbol = positions.symbol
  cross join lateral (
    select (mark.price - positions.entry_price) * positions.quantity
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
    key: fragment`candles.open_time`,
    keyDescending: fragment`candles.open_time desc`,
    isNewer: fragment`
      candles.open_time > coalesce((select open_time from bound), '-infinity'::timestamptz)`,
  };
}

const boundId = fragment`
  coalesce((select id from bound), '00000000-0000-0000-0000-000000000000'::uuid)`;

function byId(id: SqlStatement<unknown>) {
  return { key: id, keyDescending: fragment`${id} desc`, isNewer: fragment`${id} > ${boundId}` };
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
