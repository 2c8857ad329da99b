import { type DecimalFormat, type FrameColumn, shownAs } from './frame-column.ts';
import {
  type CandleWhere,
  candleSource,
  type FrameSource,
  positionSource,
  predictionSource,
  tradeSource,
} from './frame-source.ts';
import type { PositionWhere } from './position.ts';
import type { PredictionWhere } from './prediction.ts';
import { fragment, identifier, joined, type Sql, type SqlStatement } from './sql.ts';
import type { TradeWhere } from './trade.ts';

export type ExportFormat = 'ndjson' | 'csv';

export interface ExportRequest {
  readonly columns: readonly string[];
  readonly decimals: DecimalFormat;
  readonly format: ExportFormat;
}

/**
 * Rows of a frame as lines, oldest first, read bit by bit through a cursor. `open…` and then `fetch`
 * belong into one transaction, REPEATABLE READ, and there is one export in it. `open…` gives the seq
 * of the account's head in that transaction; null where there is no such account.
 */
export function createFrameExportRepository(sql: Sql) {
  return {
    async openPredictions(
      accountId: string,
      where: PredictionWhere,
      request: ExportRequest,
    ): Promise<string | null> {
      return open(sql, predictionSource(accountId, where, request.columns), request);
    },

    async openTrades(
      accountId: string,
      where: TradeWhere,
      request: ExportRequest,
    ): Promise<string | null> {
      return open(sql, tradeSource(accountId, where, request.columns), request);
    },

    async openPositions(
      accountId: string,
      where: PositionWhere,
      request: ExportRequest,
    ): Promise<string | null> {
      return open(sql, positionSource(accountId, where, request.columns), request);
    },

    /** The seq is that of `_system`, whose log has the candles. */
    async openCandles(where: CandleWhere, request: ExportRequest): Promise<string | null> {
      return open(sql, candleSource(where, request.columns), request);
    },

    /** The next lines, each with its end; null when there are no more. */
    async fetch(): Promise<Buffer | null> {
      const rows = await sql`/* frameExports.fetch */ fetch forward 2000 from frame_export`.raw();
      const lines = rows.flatMap(([line]) => line ?? []);
      return lines.length === 0 ? null : Buffer.concat(lines);
    },
  };
}

async function open(
  sql: Sql,
  source: FrameSource,
  { decimals, format }: ExportRequest,
): Promise<string | null> {
  const { accountId, rows, keys, columns } = source;
  const [head] = await sql<{ seq: string }>`
    /* frameExports.head */
    select seq from account_heads where account_id = ${accountId}`;
  if (head === undefined) return null;
  const values = columns.map(([name, column]) => {
    const value = shownAs(column, accountId, decimals);
    return fragment`${format === 'csv' ? cellOf(column, value) : value} as ${identifier(name)}`;
  });
  await sql`
    /* frameExports.open */
    declare frame_export no scroll cursor for
    select ${format === 'csv' ? csvLine(columns) : fragment`row_to_json(matching)::text || chr(10)`}
    from (
      select ${joined(values, ', ')} ${rows} order by ${joined(
        keys.map(({ value }) => value),
        ', ',
      )}
    ) as matching`;
  return head.seq;
}

/** Words, numbers, instants and ids hold nothing that CSV would have to quote. */
function cellOf({ kind }: FrameColumn, value: SqlStatement<unknown>): SqlStatement<unknown> {
  return kind === 'text'
    ? fragment`'"' || replace(${value}, '"', '""') || '"'`
    : fragment`(${value})::text`;
}

/** An empty cell is null: concat leaves nulls out. */
function csvLine(columns: FrameSource['columns']): SqlStatement<unknown> {
  const cells = columns.map(([name]) => fragment`matching.${identifier(name)}`);
  return fragment`concat(${joined(cells, `, ',', `)}, chr(10))`;
}
