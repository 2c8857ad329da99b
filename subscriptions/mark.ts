import type { Change } from '../datasources/change.ts';
import type { Mark, MarkedPosition, MarkPlace } from '../datasources/mark.ts';
import type { Position } from '../datasources/position.ts';
import type { FeedReader } from './change-feed.ts';
import { orAborted } from './waits.ts';

/** Reads what marks say of positions, once for all who are told of them. */
export interface MarkReader {
  /**
   * The positions that were open at each of these changes, which are marks of one account, in the
   * order of their ids: as they were then, at the prices of that change. Those that are not in
   * memory are read by one statement; while the database is away it waits.
   */
  read(
    changes: readonly Change[],
    reader: FeedReader,
  ): Promise<readonly (readonly MarkedPosition[])[]>;
}

export interface MarkReaderOptions {
  /** Positions that are kept at most, give or take those of one statement; no mark counts none. */
  readonly rowsMax: number;
  read(
    accountId: string,
    marks: readonly MarkPlace[],
    reader: FeedReader,
  ): Promise<readonly { readonly seq: string; readonly position: Position }[]>;
  /** Tries again while the database is away. */
  patiently<T>(reader: FeedReader, work: () => Promise<T>): Promise<T>;
}

type Rows = readonly MarkedPosition[];

interface Kept {
  readonly rows: Promise<Rows>;
  count: number;
}

export function createMarkReader({ rowsMax, read, patiently }: MarkReaderOptions): MarkReader {
  // Those that were asked for last stand at the end.
  const kept = new Map<string, Kept>();
  let count = 0;

  function forget(key: string, entry: Kept): void {
    if (kept.get(key) !== entry) return;
    kept.delete(key);
    count -= entry.count;
  }

  function begin(changes: readonly Change[], reader: FeedReader): void {
    const [first] = changes;
    if (first === undefined) return;
    const marks = changes.flatMap((change) =>
      marksOf(change).map(({ exchange, symbol }) => ({ seq: change.seq, exchange, symbol })),
    );
    const reading = read(first.accountId, marks, reader).then((rows) =>
      Map.groupBy(rows, ({ seq }) => seq),
    );
    for (const change of changes) {
      const key = keyOf(change);
      const entry: Kept = {
        rows: reading.then((found) => {
          const rows = (found.get(change.seq) ?? []).map(({ position }) => position);
          return atMarks(rows, marksOf(change));
        }),
        count: 0,
      };
      kept.set(key, entry);
      entry.rows.then(
        ({ length }) => {
          if (kept.get(key) !== entry) return;
          // Marks that found nothing are kept, too, and must not be without a bound.
          entry.count = Math.max(1, length);
          count += entry.count;
          for (const [oldest, other] of kept) {
            if (count <= rowsMax || other === entry) break;
            forget(oldest, other);
          }
        },
        () => forget(key, entry),
      );
    }
  }

  function readNow(changes: readonly Change[], reader: FeedReader): Promise<readonly Rows[]> {
    begin(
      changes.filter((change) => !kept.has(keyOf(change))),
      reader,
    );
    const all = changes.map((change) => {
      const key = keyOf(change);
      const entry = kept.get(key);
      if (entry === undefined) throw new Error('a mark that is being read is kept');
      kept.delete(key);
      kept.set(key, entry);
      return entry.rows;
    });
    return orAborted(Promise.all(all), reader.signal);
  }

  return { read: (changes, reader) => patiently(reader, () => readNow(changes, reader)) };
}

/** What a change of marks has marked. */
export function marksOf({ entity, after }: Change): readonly Mark[] {
  // So it is recorded.
  return entity === 'mark' ? (after as readonly Mark[]) : [];
}

export function instrumentOf({
  exchange,
  symbol,
}: {
  readonly exchange: string;
  readonly symbol: string;
}): string {
  return `${exchange} ${symbol}`;
}

/** Rows with the prices of these marks. */
export function atMarks(rows: readonly Position[], marks: readonly Mark[]): Rows {
  const prices = new Map(marks.map((mark) => [instrumentOf(mark), mark.price]));
  return rows.map((row) => ({ ...row, markPrice: prices.get(instrumentOf(row)) ?? null }));
}

/** The hash tells apart what has the same seq in two histories. */
function keyOf({ accountId, seq, hash }: Change): string {
  return `${accountId} ${seq} ${hash}`;
}
