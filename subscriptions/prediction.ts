import { requireAccount } from '../access.ts';
import type { Context } from '../context.ts';
import type { Change } from '../datasources/change.ts';
import { type Prediction, type PredictionWhere, readLogged } from '../datasources/prediction.ts';
import { matchesPrediction } from '../datasources/row-match.ts';
import type { FeedReader } from './change-feed.ts';
import { type Found, type LogEvent, type Matches, resumeAt, streamLog } from './log-stream.ts';
import { stream } from './stream.ts';

type Batch = readonly Prediction[];

export interface PredictionEvent extends Omit<LogEvent<Batch>, 'row'> {
  /** Those of the batch that match and are there, in the order of their times. */
  readonly predictions: Batch | null;
}

export interface PredictionsLoggedInput {
  readonly account?: string | null;
  readonly where?: PredictionWhere | null;
  readonly after?: string | null;
}

/**
 * The batches of predictions that were committed, in commit order, from a cursor or the head. The
 * log has their ids alone: the rows are as they are when the event is made, and those that retention
 * has deleted are left out. A batch of which nothing matches is not sent.
 *
 * @throws AppError as `positionChanges` does
 */
export function predictionsLogged(
  context: Context,
  input: PredictionsLoggedInput,
): AsyncGenerator<PredictionEvent, void, undefined> {
  const accountId = requireAccount(context.actor, input.account, 'predictions:read');
  const where = input.where ?? {};
  const options = {
    context,
    accountId,
    permission: 'predictions:read',
    toEvent: toPredictionEvent,
    matches: (changes: readonly Change[], reader: FeedReader) =>
      matchesOf(context, changes, where, reader),
    readSnapshot: null,
    after: resumeAt(context, input.after),
    minIntervalMs: 0,
  } as const;
  return stream((signal) => streamLog(options, signal), context.call.signal);
}

function toPredictionEvent({ row, ...event }: LogEvent<Batch>): PredictionEvent {
  return { ...event, predictions: row };
}

function matchesOf(
  context: Context,
  changes: readonly Change[],
  where: PredictionWhere,
  reader: FeedReader,
): Found<Batch> {
  return changes.some(isBatch)
    ? readBatches(context, changes, where, reader)
    : changes.map(() => []);
}

function isBatch({ entity, operation }: Change): boolean {
  return entity === 'prediction' && operation === 'INSERT';
}

async function readBatches(
  { services: { feed, database } }: Context,
  changes: readonly Change[],
  where: PredictionWhere,
  reader: FeedReader,
): Promise<readonly Matches<Batch>[]> {
  const all: Matches<Batch>[] = [];
  for (const change of changes) {
    const logged = isBatch(change)
      ? await feed.readShared(change, reader, (call) =>
          readLogged(database.interactive.sql(call), change.accountId, change.ids),
        )
      : [];
    const row = logged.filter((prediction) => matchesPrediction(where, prediction));
    all.push(row.length === 0 ? [] : [{ key: change.seq, isLeft: false, row, before: null }]);
  }
  return all;
}
