import { requireAccount } from '../access.ts';
import type { Context } from '../context.ts';
import type { Change, ChangeWhere } from '../datasources/change.ts';
import { type PublicChange, toChangeWhere, toPublic } from '../datasources/public-change.ts';
import { matchesChange } from '../datasources/row-match.ts';
import { eachChange, type LogEvent, type Matches, resumeAt, streamLog } from './log-stream.ts';
import { stream } from './stream.ts';

export interface ChangeEvent extends Omit<LogEvent<PublicChange>, 'row'> {
  readonly change: PublicChange | null;
}

export interface ChangesInput {
  readonly account?: string | null;
  /** Its ids are global ids, or keys of what has none. */
  readonly where?: ChangeWhere | null;
  readonly after?: string | null;
}

/**
 * Everything that is committed in an account, in commit order, from a cursor or the head: the log
 * itself. A change never becomes another one, so none leaves.
 *
 * @throws AppError as `positionChanges` does
 */
export function changeEvents(
  context: Context,
  input: ChangesInput,
): AsyncGenerator<ChangeEvent, void, undefined> {
  const accountId = requireAccount(context.actor, input.account, 'changes:read');
  const where = toChangeWhere(accountId, input.where);
  const options = {
    context,
    accountId,
    permission: 'changes:read',
    toEvent: toChangeEvent,
    matches: eachChange((change) => matchesOf(change, where)),
    readSnapshot: null,
    after: resumeAt(context, input.after),
    minIntervalMs: 0,
  } as const;
  return stream((signal) => streamLog(options, signal), context.call.signal);
}

function toChangeEvent({ row, ...event }: LogEvent<PublicChange>): ChangeEvent {
  return { ...event, change: row };
}

function matchesOf(change: Change, where: ChangeWhere): Matches<PublicChange> {
  if (!matchesChange(where, change)) return [];
  return [{ key: change.seq, isLeft: false, row: toPublic(change), before: null }];
}
