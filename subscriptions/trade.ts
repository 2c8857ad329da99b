import { requireAccount } from '../access.ts';
import type { Context } from '../context.ts';
import type { Change } from '../datasources/change.ts';
import { matchesTrade } from '../datasources/row-match.ts';
import { toTradeWhere } from '../datasources/row-where.ts';
import type { Trade, TradeWhere } from '../datasources/trade.ts';
import {
  eachChange,
  type LogEvent,
  type Matches,
  matchesOfRow,
  resumeAt,
  streamLog,
} from './log-stream.ts';
import { stream } from './stream.ts';

export interface TradeEvent extends Omit<LogEvent<Trade>, 'row'> {
  readonly trade: Trade | null;
}

export interface TradeExecutionsInput {
  readonly account?: string | null;
  /** Its ids are global ids. */
  readonly where?: TradeWhere | null;
  readonly after?: string | null;
}

/**
 * Committed trades in commit order, from a cursor or the head. A trade never changes, so none leaves.
 *
 * @throws AppError as `positionChanges` does
 */
export function tradeExecutions(
  context: Context,
  input: TradeExecutionsInput,
): AsyncGenerator<TradeEvent, void, undefined> {
  const accountId = requireAccount(context.actor, input.account, 'trades:read');
  const where = toTradeWhere(accountId, input.where);
  const options = {
    context,
    accountId,
    permission: 'trades:read',
    toEvent: toTradeEvent,
    matches: eachChange((change) => matchesOf(change, where)),
    readSnapshot: null,
    after: resumeAt(context, input.after),
    minIntervalMs: 0,
  } as const;
  return stream((signal) => streamLog(options, signal), context.call.signal);
}

function toTradeEvent({ row, ...event }: LogEvent<Trade>): TradeEvent {
  return { ...event, trade: row };
}

function matchesOf(change: Change, where: TradeWhere): Matches<Trade> {
  if (change.entity !== 'trade') return [];
  return matchesOfRow<Trade>(change, (row) => matchesTrade(where, row));
}
