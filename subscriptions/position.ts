import { requireAccount, restrict } from '../access.ts';
import type { Context } from '../context.ts';
import type { Change } from '../datasources/change.ts';
import { decodeCursor } from '../datasources/cursor.ts';
import { requireId } from '../datasources/id.ts';
import type { Call } from '../datasources/lane.ts';
import { matchesPosition, type Position, type PositionWhere } from '../datasources/position.ts';
import { withSnapshot } from '../datasources/snapshot.ts';
import { AppError } from '../errors.ts';
import { type LogEvent, type Match, type Snapshot, streamLog } from './log-stream.ts';
import { stream } from './stream.ts';

export interface PositionEvent extends Omit<LogEvent<Position>, 'row'> {
  /** As the change left it. */
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
export const SNAPSHOT_ROWS_MAX = 20_000;
const SNAPSHOT_PAGE_ROWS = 1000;

/**
 * Committed changes of positions in commit order; an event is sent when the row before or after the
 * change matches `where`, LEFT when it matched and no longer does. After a cursor that can be
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
  const where = toWhere(accountId, input.where);
  const options = {
    context,
    accountId,
    permission: 'positions:read',
    toEvent: toPositionEvent,
    matches: (change: Change) => matchesOf(change, where),
    readSnapshot: input.snapshot ? (call: Call) => readRows(context, call, accountId, where) : null,
    after: typeof input.after === 'string' ? decodeCursor(input.after) : null,
    minIntervalMs: intervalOf(input.minIntervalMs),
  } as const;
  return stream((signal) => streamLog(options, signal), context.call.signal);
}

function toWhere(accountId: string, where: PositionWhere | null | undefined): PositionWhere {
  if (!where) return {};
  const ids = where.ids?.map((id, index) =>
    requireId(id, 'position', accountId, ['where', 'ids', String(index)]),
  );
  return { ...where, ids: ids ?? null };
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

function matchesOf(change: Change, where: PositionWhere): readonly Match<Position>[] {
  if (change.entity !== 'position') return [];
  // A change of one position holds its whole row, before and after.
  const before = change.before as Position | null;
  const after = change.after as Position | null;
  const row = after ?? before;
  const isIn = after !== null && matchesPosition(where, after);
  const wasIn = before !== null && matchesPosition(where, before);
  if (row === null || !(isIn || wasIn)) return [];
  return [{ key: row.id, isLeft: !isIn, row, before }];
}

/** The rows that match, oldest opened first, and the head, at one moment of the database. */
function readRows(
  { services, actor }: Context,
  call: Call,
  accountId: string,
  where: PositionWhere,
): Promise<Snapshot<Position>> {
  return withSnapshot(services.database, call, async (unrestricted) => {
    const { changes, positions } = restrict(unrestricted, actor);
    const head = await changes.getHead(accountId);
    const rows: Position[] = [];
    for (;;) {
      const after = rows.at(-1)?.id ?? null;
      const cut = { after, before: null, isDescending: false, limit: SNAPSHOT_PAGE_ROWS };
      const page = await positions.list(accountId, where, cut);
      rows.push(...page);
      if (rows.length > SNAPSHOT_ROWS_MAX) throw tooManyRows();
      if (page.length < SNAPSHOT_PAGE_ROWS || call.signal?.aborted) return { head, rows };
    }
  });
}

function tooManyRows(): AppError {
  return new AppError(
    'QUERY_TOO_EXPENSIVE',
    `More than ${SNAPSHOT_ROWS_MAX} positions match: narrow where, for example to status OPEN.`,
    { path: ['where'] },
  );
}
