import { requireAccount } from '../access.ts';
import type { Context } from '../context.ts';
import type { Change } from '../datasources/change.ts';
import type { Order, OrderWhere } from '../datasources/order.ts';
import { matchesOrder } from '../datasources/row-match.ts';
import { toOrderWhere } from '../datasources/row-where.ts';
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

export interface OrderEvent extends Omit<LogEvent<Order>, 'row'> {
  /** As the change left it. */
  readonly order: Order | null;
}

export interface OrderChangesInput {
  readonly account?: string | null;
  /** Its ids are global ids. */
  readonly where?: OrderWhere | null;
  readonly after?: string | null;
  readonly snapshot?: boolean | null;
}

/**
 * Committed changes of orders, as `positionChanges` has those of positions.
 *
 * @throws AppError as `positionChanges` does
 */
export function orderChanges(
  context: Context,
  input: OrderChangesInput,
): AsyncGenerator<OrderEvent, void, undefined> {
  const accountId = requireAccount(context.actor, input.account, 'orders:read');
  const where = toOrderWhere(accountId, input.where);
  const options = {
    context,
    accountId,
    permission: 'orders:read',
    toEvent: toOrderEvent,
    matches: eachChange((change) => matchesOf(change, where)),
    readSnapshot: input.snapshot
      ? snapshotReader<Order>({
          context,
          accountId,
          advice: 'narrow where, for example to status PENDING, OPEN, PARTIALLY_FILLED',
          list: ({ orders }, cut) => orders.list(accountId, where, cut),
        })
      : null,
    after: resumeAt(context, input.after),
    minIntervalMs: 0,
  } as const;
  return stream((signal) => streamLog(options, signal), context.call.signal);
}

function toOrderEvent({ row, ...event }: LogEvent<Order>): OrderEvent {
  return { ...event, order: row };
}

function matchesOf(change: Change, where: OrderWhere): Matches<Order> {
  if (change.entity !== 'order') return [];
  return matchesOfRow<Order>(change, (row) => matchesOrder(where, row));
}
