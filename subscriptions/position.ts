import { requireAccount } from '../access.ts';
import type { Context } from '../context.ts';
import type { Change } from '../datasources/change.ts';
import type { Datasources } from '../datasources/datasources.ts';
import type { Mark } from '../datasources/mark.ts';
import { matchesPosition, type Position, type PositionWhere } from '../datasources/position.ts';
import { toPositionWhere } from '../datasources/row-where.ts';
import { AppError } from '../errors.ts';
import type { FeedReader, Watch } from './change-feed.ts';
import {
  type Found,
  type LogEvent,
  type Matches,
  matchesOfRow,
  resumeAt,
  streamLog,
} from './log-stream.ts';
import { atMarks, instrumentOf, marksOf } from './mark.ts';
import { snapshotReader } from './snapshot.ts';
import { stream } from './stream.ts';

export interface PositionEvent extends Omit<LogEvent<Position>, 'row'> {
  /** As the change left it; of a mark and in a snapshot a MarkedPosition. */
  readonly position: Position | null;
}

export interface PositionChangesInput {
  readonly account?: string | null;
  /** Its ids are global ids. */
  readonly where?: PositionWhere | null;
  readonly after?: string | null;
  readonly snapshot?: boolean | null;
  readonly marks?: boolean | null;
  readonly minIntervalMs?: number | null;
}

export const MIN_INTERVAL_MS_MAX = 60_000;

/**
 * Committed changes of positions in commit order; an event is sent when the row before or after the
 * change matches `where`, LEFT when it matched and no longer does. A change of marks is an event of
 * each position that was open at it and matches, with its state and its mark of then; marks that
 * are not the newest of their instruments any more are left out. After a cursor that can be
 * resumed: the changes since, CAUGHT_UP at the head, then what comes. After another one: RESET.
 * After that, or without a cursor: the rows that match if a snapshot is asked for, and CAUGHT_UP.
 * It never ends by itself.
 *
 * @throws AppError BAD_INPUT, FORBIDDEN at once; with the first event NOT_FOUND, UNAVAILABLE and
 * QUERY_TOO_EXPENSIVE over 20,000 rows of snapshot; later UNAUTHENTICATED, FORBIDDEN when the key
 * has ended or changed
 */
export function positionChanges(
  context: Context,
  input: PositionChangesInput,
): AsyncGenerator<PositionEvent, void, undefined> {
  const accountId = requireAccount(context.actor, input.account, 'positions:read');
  const where = toPositionWhere(accountId, input.where);
  const options = {
    context,
    accountId,
    permission: 'positions:read',
    toEvent: toPositionEvent,
    matches: (changes: readonly Change[], reader: FeedReader, watch: Watch) =>
      matchesOf(changes, { context, where, hasMarks: input.marks ?? true, reader, watch }),
    readSnapshot: input.snapshot
      ? snapshotReader<Position>({
          context,
          accountId,
          advice: 'narrow where, for example to status OPEN',
          list: ({ positions }, cut) => positions.list(accountId, where, cut),
          complete: ({ marks }, rows) => atNewestMarks(marks, accountId, rows),
        })
      : null,
    after: resumeAt(context, input.after),
    minIntervalMs: intervalOf(input.minIntervalMs),
  } as const;
  return stream((signal) => streamLog(options, signal), context.call.signal);
}

function intervalOf(minIntervalMs: number | null | undefined): number {
  const chosen = minIntervalMs ?? 0;
  if (chosen >= 0 && chosen <= MIN_INTERVAL_MS_MAX) return chosen;
  throw new AppError(
    'BAD_INPUT',
    `minIntervalMs is ${chosen}; it must be 0 to ${MIN_INTERVAL_MS_MAX}.`,
    { path: ['minIntervalMs'] },
  );
}

function toPositionEvent({ row, ...event }: LogEvent<Position>): PositionEvent {
  return { ...event, position: row };
}

/** So that a snapshot is of one moment, and its marks are one statement. */
async function atNewestMarks(
  marks: Datasources['marks'],
  accountId: string,
  rows: readonly Position[],
): Promise<readonly Position[]> {
  const instruments = new Map(rows.map((row) => [instrumentOf(row), row]));
  return atMarks(rows, await marks.find(accountId, [...instruments.values()]));
}

interface Matching {
  readonly context: Context;
  readonly where: PositionWhere;
  readonly hasMarks: boolean;
  readonly reader: FeedReader;
  readonly watch: Watch;
}

function matchesOf(changes: readonly Change[], matching: Matching): Found<Position> {
  const hasMarks = matching.hasMarks && changes.some(({ entity }) => entity === 'mark');
  const marked = hasMarks ? newestMarks(changes, matching) : NO_MARKS;
  if (marked.size > 0) return withMarks(changes, marked, matching);
  return changes.map((change) => matchesOfPosition(change, matching.where));
}

function matchesOfPosition(change: Change, where: PositionWhere): Matches<Position> {
  if (change.entity !== 'position') return [];
  return matchesOfRow<Position>(change, (row) => matchesPosition(where, row));
}

const NO_MARKS: ReadonlyMap<Change, ReadonlySet<string>> = new Map();

/**
 * The instruments of each change of marks that may concern the subscription and have no newer mark:
 * who is behind is told of the newest alone, who is not has no newer one.
 */
function newestMarks(
  changes: readonly Change[],
  { where, watch }: Matching,
): ReadonlyMap<Change, ReadonlySet<string>> {
  const seen = new Set<string>();
  const newest = new Map<Change, Set<string>>();
  for (const change of changes.toReversed()) {
    const instruments = new Set<string>();
    for (const mark of marksOf(change)) {
      const instrument = instrumentOf(mark);
      if (seen.has(instrument)) continue;
      seen.add(instrument);
      const isNewest = watch.newestMarkOf(instrument) <= Number(change.seq);
      if (isNewest && mayConcern(where, mark)) instruments.add(instrument);
    }
    if (instruments.size > 0) newest.set(change, instruments);
  }
  return newest;
}

/** Whether an open position of an instrument can match. */
function mayConcern({ exchange, symbols, status }: PositionWhere, mark: Mark): boolean {
  return (
    (!exchange || exchange === mark.exchange) &&
    (!symbols || symbols.includes(mark.symbol)) &&
    (!status || status.includes('OPEN'))
  );
}

async function withMarks(
  changes: readonly Change[],
  marked: ReadonlyMap<Change, ReadonlySet<string>>,
  { context: { services }, where, reader }: Matching,
): Promise<readonly Matches<Position>[]> {
  const asked = [...marked.keys()];
  const found = await services.feed.marks.read(asked, reader);
  const rows = new Map(asked.map((change, index) => [change, found[index] ?? []]));
  return changes.map((change) => {
    const instruments = marked.get(change);
    if (instruments === undefined) return matchesOfPosition(change, where);
    return (rows.get(change) ?? [])
      .filter((row) => instruments.has(instrumentOf(row)) && matchesPosition(where, row))
      .map((row) => ({ key: row.id, isLeft: false, row, before: null }));
  });
}
