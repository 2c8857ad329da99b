import { arrayOf, type DecimalFormat, itemOf } from './frame-column.ts';
import {
  type CandleWhere,
  candleSource,
  type FrameSource,
  positionSource,
  predictionSource,
  tradeSource,
} from './frame-source.ts';
import { JsonText } from './json-text.ts';
import type { PositionWhere } from './position.ts';
import type { PredictionWhere } from './prediction.ts';
import { fragment, identifier, joined, type RawRow, type Sql, type SqlStatement } from './sql.ts';
import type { TradeWhere } from './trade.ts';

export interface FrameRequest {
  /** The names of columns, and how often the answer shows each. */
  readonly columns: ReadonlyMap<string, number>;
  /** Rows at most: the newest. */
  readonly limit: number;
  readonly decimals: DecimalFormat;
  /** What the columns may have together, as often as they are shown; above it they are not read. */
  readonly bytesMax: number;
}

/** Columns of one snapshot, all of one length, oldest row first. */
export interface Frame {
  readonly count: number;
  /** Older rows match, too. */
  readonly isTruncated: boolean;
  /** Of the account's head in the same snapshot; null: there is no such account. */
  readonly headSeq: string | null;
  /** Of the columns, as often as they are shown. */
  readonly bytes: number;
  /** JSON arrays by the names of the columns; none when `bytes` is above the bound. */
  readonly columns: ReadonlyMap<string, JsonText>;
}

/** Each is one statement, which reads the columns asked for and no other. */
export function createFrameRepository(sql: Sql) {
  return {
    /** With a column of horizons it has a row for each horizon, the shortest first. */
    async readPredictions(
      accountId: string,
      where: PredictionWhere,
      request: FrameRequest,
    ): Promise<Frame> {
      const names = [...request.columns.keys()];
      const source = predictionSource(accountId, where, names);
      return read(sql, fragment`/* frames.readPredictions */`, source, request);
    },

    async readTrades(accountId: string, where: TradeWhere, request: FrameRequest): Promise<Frame> {
      const source = tradeSource(accountId, where, [...request.columns.keys()]);
      return read(sql, fragment`/* frames.readTrades */`, source, request);
    },

    /** Marks are those of the same snapshot. */
    async readPositions(
      accountId: string,
      where: PositionWhere,
      request: FrameRequest,
    ): Promise<Frame> {
      const source = positionSource(accountId, where, [...request.columns.keys()]);
      return read(sql, fragment`/* frames.readPositions */`, source, request);
    },

    async readCandles(where: CandleWhere, request: FrameRequest): Promise<Frame> {
      const source = candleSource(where, [...request.columns.keys()]);
      return read(sql, fragment`/* frames.readCandles */`, source, request);
    },
  };
}

async function read(
  sql: Sql,
  title: SqlStatement<unknown>,
  source: FrameSource,
  { limit, decimals, bytesMax, columns: shown }: FrameRequest,
): Promise<Frame> {
  const columns = source.columns.map(([name, column]) => ({
    text: name,
    name: identifier(name),
    item: itemOf(column, source.accountId, decimals),
    column,
    shownTimes: shown.get(name) ?? 1,
  }));
  const list = (part: (column: (typeof columns)[number]) => SqlStatement<unknown>, between = '') =>
    joined(columns.map(part), between);
  // The rows are read from the oldest one on, so that nothing has to be sorted. Which one that is
  // tells the newest one that is left out, and that is found by the keys alone. Each column comes
  // as a row of its own: the driver makes one piece of a row before it gives it.
  const rows = await sql`
    ${title}
    with bound as materialized (
      select ${source.key} ${source.rows}
      order by ${source.keyDescending} offset ${limit} limit 1
    )
    select parts.name, case when frame.bytes <= ${bytesMax} then parts.part end,
      frame.count, frame.bytes, exists (select from bound),
      (select seq from account_heads where account_id = ${source.accountId})
    from (
      select texts.*, coalesce(0::bigint ${list(
        ({ name, shownTimes }) => fragment`
        + octet_length(texts.${name})::bigint * ${shownTimes}`,
      )}, 0) as bytes
      from (
        select count(*) as count
          ${list(({ name, column }) => fragment`, ${arrayOf(column, fragment`matching.${name}`)} as ${name}`)}
        from (
          select ${list(({ name, item }) => fragment`${item} as ${name}`, ', ')}
          ${source.rows} and ${source.isNewer}
          order by ${source.key}
        ) as matching
      ) as texts
    ) as frame
    cross join lateral (
      values (null, null)
        ${list(({ text, name }) => fragment`, (${text}, frame.${name})`)}
    ) as parts (name, part)`.raw();
  return toFrame(rows, bytesMax);
}

function toFrame(rows: readonly RawRow[], bytesMax: number): Frame {
  const [, , count, bytes, isTruncated, headSeq] = rows[0] ?? [];
  const total = Number(bytes);
  const columns = rows.flatMap(([name, part]): [string, JsonText][] =>
    !name || total > bytesMax ? [] : [[name.toString(), new JsonText(part ?? EMPTY)]],
  );
  return {
    count: Number(count),
    isTruncated: isTruncated?.toString() === 't',
    headSeq: headSeq?.toString() ?? null,
    bytes: total,
    columns: new Map(columns),
  };
}

/** The aggregate of no rows is null. */
const EMPTY = Buffer.from('[]');
