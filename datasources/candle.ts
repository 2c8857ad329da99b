import type { ChangeRecorder } from './change-recorder.ts';
import type { TimeRange } from './keyset.ts';
import { fragment, type Sql } from './sql.ts';

/** One bar of market data. It belongs to no account; its changes stand in the log of `_system`. */
export interface Candle {
  readonly exchange: string;
  readonly symbol: string;
  readonly interval: string;
  readonly openTime: string;
  readonly open: string;
  readonly high: string;
  readonly low: string;
  readonly close: string;
  readonly volume: string;
}

export interface CandleSeries {
  readonly exchange: string;
  readonly symbol: string;
  readonly interval: string;
}

export function createCandleRepository(sql: Sql, recorder: ChangeRecorder) {
  return {
    /** The newest `last` candles of the range (from <= openTime < to), oldest first. */
    async list(
      series: CandleSeries,
      range: TimeRange | null,
      last: number,
    ): Promise<readonly Candle[]> {
      const rows = await sql<Candle>`
        /* candles.list */
        select exchange, symbol, interval, open_time, trim_scale(open) as open,
          trim_scale(high) as high, trim_scale(low) as low, trim_scale(close) as close,
          trim_scale(volume) as volume
        from candles
        where exchange = ${series.exchange} and symbol = ${series.symbol}
          and interval = ${series.interval}
          ${range?.from ? fragment`and open_time >= ${range.from}` : fragment``}
          ${range?.to ? fragment`and open_time < ${range.to}` : fragment``}
        order by open_time desc limit ${last}`;
      return [...rows].reverse();
    },

    /**
     * Inserts new candles and updates those whose values differ, in one statement; records one
     * change with the keys of both. A candle is named at most once.
     */
    async upsertMany(
      candles: readonly Candle[],
    ): Promise<{ readonly created: number; readonly updated: number; readonly unchanged: number }> {
      // xmax is 0 in a row version that this statement inserted and set in one that it updated.
      const rows = await sql<{ key: string; isNew: boolean }>`
        /* candles.upsertMany */
        insert into candles as c
        select i.exchange, i.symbol, i.interval, i."openTime", i.open, i.high, i.low, i.close,
          i.volume
        from json_to_recordset(${JSON.stringify(candles)}::text::json) as i (
          exchange text, symbol text, interval text, "openTime" timestamptz, open numeric,
          high numeric, low numeric, close numeric, volume numeric)
        order by i.exchange, i.symbol, i.interval, i."openTime"
        on conflict (exchange, symbol, interval, open_time) do update
        set open = excluded.open, high = excluded.high, low = excluded.low,
          close = excluded.close, volume = excluded.volume
        where (c.open, c.high, c.low, c.close, c.volume) is distinct from
          (excluded.open, excluded.high, excluded.low, excluded.close, excluded.volume)
        returning exchange || ':' || symbol || ':' || interval || ':' ||
          to_char(open_time, 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as key, xmax = 0 as is_new`;
      const created = rows.filter((row) => row.isNew).length;
      if (rows.length > 0) {
        recorder.record({
          accountId: '_system',
          entity: 'candle',
          operation: created === rows.length ? 'INSERT' : 'UPDATE',
          ids: rows.map((row) => row.key),
          count: rows.length,
        });
      }
      return {
        created,
        updated: rows.length - created,
        unchanged: candles.length - rows.length,
      };
    },
  };
}
