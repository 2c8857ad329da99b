import { requireAccount } from '../access.ts';
import type { Context } from '../context.ts';
import type { Change } from '../datasources/change.ts';
import { matchesPosition, type Position, type PositionWhere } from '../datasources/position.ts';
import { toPositionWhere } from '../datasources/row-where.ts';
import { AppError } from '../errors.ts';
import {
  eachChange,
  type LogEvent,
  type Matches,
  matchesOfRow,
  resumeAt,
  streamLog,
} from './log-stream.ts';
import { snapshotReader } from './snapshot.ts';
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
  const where = toPositionWhere(accountId, input.where);
  const options = {
    context,
    accountId,
    permission: 'positions:read',
    toEvent: toPositionEvent,
    matches: eachChange((change) => matchesOf(change, where)),
    readSnapshot: input.snapshot
      ? snapshotReader<Position>({
          context,
          accountId,
          advice: 'narrow where, for example to status OPEN',
          list: ({ positions }, cut) => positions.list(accountId, where, cut),
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

function matchesOf(change: Change, where: PositionWhere): Matches<Position> {
  if (change.entity !== 'position') return [];
  return matchesOfRow<Position>(change, (row) => matchesPosition(where, row));
}
