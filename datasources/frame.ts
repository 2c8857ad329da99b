import { arrayOf, type DecimalFormat, itemOf } from './frame-column.ts';
import {
  type CandleWhere,
  candleSource,
  type FrameSource,
  positionSource,
  predictionSource,
  tradeSource,
} from './frame-source.ts';
import { findChunks, readChunks } from './frame-chunk.ts';
import { type JsonText, joinArrays } from './json-text.ts';
import type { PositionWhere } from './position.ts';
import type { PredictionWhere } from './prediction.ts';
import type { Snapshots } from './shared-snapshot.ts';
import { fragment, identifier, joined, type RawRow, type SqlStatement } from './sql.ts';
import type { TradeWhere } from './trade.ts';

export interface FrameRequest {
  /** The names of columns, and how often the answer shows each. */
  readonly columns: ReadonlyMap<string, number>;
  /** Rows at most: the newest. */
  readonly limit: number;
  readonly decimals: DecimalFormat;
  /** What the columns may have together, as often as they are shown; above it, reading ends. */
  readonly bytesMax: number;
}

/** Columns of one snapshot, all of one length, oldest row first. */
export interface Frame {
  readonly count: number;
  /** Older rows match, too. */
  readonly isTruncated: boolean;
  /** Of the account's head in the same snapshot; null: there is no such account. */
  readonly headSeq: string | null;
  /** Of the columns, as often as they are shown; above the bound, of those that were read. */
  readonly bytes: number;
  /** JSON arrays by the names of the columns; none when `bytes` is above the bound. */
  readonly columns: ReadonlyMap<string, JsonText>;
}

/** What is read together at once, and held by PostgreSQL while it makes JSON of it. */
const CHUNK_ROWS = 2500;

/** Each reads the columns asked for and no other. */
export function createFrameRepository(snapshots: Snapshots, chunkRows = CHUNK_ROWS) {
  const read = (title: SqlStatement<unknown>, source: FrameSource, request: FrameRequest) =>
    readFrame(snapshots, { title, source, request, chunkRows });
  return {
    /** With a column of horizons it has a row for each horizon, the shortest first. */
    async readPredictions(
      accountId: string,
      where: PredictionWhere,
      request: FrameRequest,
    ): Promise<Frame> {
      const names = [...request.columns.keys()];
      const source = predictionSource(accountId, where, names);
      return read(fragment`/* frames.readPredictions */`, source, request);
    },

    async readTrades(accountId: string, where: TradeWhere, request: FrameRequest): Promise<Frame> {
      const source = tradeSource(accountId, where, [...request.columns.keys()]);
      return read(fragment`/* frames.readTrades */`, source, request);
    },

    /** Marks are those of the same snapshot. */
    async readPositions(
      accountId: string,
      where: PositionWhere,
      request: FrameRequest,
    ): Promise<Frame> {
      const source = positionSource(accountId, where, [...request.columns.keys()]);
      return read(fragment`/* frames.readPositions */`, source, request);
    },

    async readCandles(where: CandleWhere, request: FrameRequest): Promise<Frame> {
      const source = candleSource(where, [...request.columns.keys()]);
      return read(fragment`/* frames.readCandles */`, source, request);
    },
  };
}

interface Reading {
  readonly title: SqlStatement<unknown>;
  readonly source: FrameSource;
  readonly request: FrameRequest;
  readonly chunkRows: number;
}

async function readFrame(snapshots: Snapshots, reading: Reading): Promise<Frame> {
  const { title, source, request, chunkRows } = reading;
  const { limit, decimals, bytesMax } = request;
  const columns = source.columns.map(([name, column]) => {
    const alias = identifier(name);
    const item = fragment`${itemOf(column, source.accountId, decimals)} as ${alias}`;
    const array = fragment`, ${arrayOf(column, fragment`matching.${alias}`)}`;
    return { name, item, array, shownTimes: request.columns.get(name) ?? 1 };
  });
  const query = {
    title,
    items: joined(
      columns.map(({ item }) => item),
      ', ',
    ),
    values: fragment`count(*) ${joined(
      columns.map(({ array }) => array),
      '',
    )}`,
    width: columns.length + 1,
  };
  return snapshots.read(async (snapshot) => {
    const chunks = await findChunks(snapshot.sql, source, limit, chunkRows);
    const parts: RawRow[] = [];
    let count = 0;
    let bytes = 0;
    await readChunks(snapshot, source, query, chunks, (row, place) => {
      // One that is joined to others has a bracket less.
      const lost = count === 0 ? 0 : 1;
      for (const [column, { shownTimes }] of columns.entries()) {
        bytes += ((row[column + 1] ?? EMPTY).length - lost) * shownTimes;
      }
      count += Number(row[0]);
      parts[place] = row;
      return bytes <= bytesMax;
    });
    const oldestFirst = bytes > bytesMax ? [] : parts.reverse();
    const texts = columns.map(({ name }, column): [string, JsonText] => [
      name,
      joinArrays(oldestFirst.flatMap((row) => row[column + 1] ?? [])),
    ]);
    const { isTruncated, headSeq } = chunks;
    return { count, isTruncated, headSeq, bytes, columns: new Map(bytes > bytesMax ? [] : texts) };
  });
}

/** The aggregate of no rows is null. */
const EMPTY = Buffer.from('[]');
