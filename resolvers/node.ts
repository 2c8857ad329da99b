import type { Context } from '../context.ts';
import { type Account, SYSTEM_ACCOUNT } from '../datasources/account.ts';
import type { Alert } from '../datasources/alert.ts';
import { decodeId, type GlobalId, quote } from '../datasources/id.ts';
import type { Order } from '../datasources/order.ts';
import type { Position } from '../datasources/position.ts';
import type { Prediction } from '../datasources/prediction.ts';
import type { Signal } from '../datasources/signal.ts';
import type { Trade } from '../datasources/trade.ts';
import { AppError } from '../errors.ts';
import { assertMay } from '../access.ts';

const NODES_MAX = 500;

export type NodeRecord =
  | { readonly kind: 'account'; readonly record: Account }
  | { readonly kind: 'alert'; readonly record: Alert }
  | { readonly kind: 'order'; readonly record: Order }
  | { readonly kind: 'position'; readonly record: Position }
  | { readonly kind: 'prediction'; readonly record: Prediction }
  | { readonly kind: 'signal'; readonly record: Signal }
  | { readonly kind: 'trade'; readonly record: Trade };

/**
 * What these ids name, in their order; null where there is nothing. One statement per kind and
 * account, however many ids.
 *
 * @throws AppError BAD_INPUT for a malformed id or over 500 of them; FORBIDDEN
 */
export async function nodes(
  context: Context,
  ids: readonly string[],
  name = 'ids',
): Promise<readonly (NodeRecord | null)[]> {
  if (ids.length > NODES_MAX) {
    throw new AppError('BAD_INPUT', `At most ${NODES_MAX} ids are allowed.`, { path: [name] });
  }
  const wanted = ids.map((id, index) => {
    const decoded = decodeId(id);
    if (decoded !== null) return decoded;
    throw new AppError('BAD_INPUT', `${quote(id)} is not an id.`, {
      path: name === 'ids' ? [name, String(index)] : [name],
    });
  });
  const groups = Map.groupBy(wanted, ({ kind, accountId }) =>
    kind === 'account' ? kind : `${kind}.${accountId}`,
  );
  const found = new Map<GlobalId, NodeRecord>();
  for (const group of groups.values()) await readGroup(context, group, found);
  return wanted.map((id) => found.get(id) ?? null);
}

async function readGroup(
  context: Context,
  group: readonly GlobalId[],
  found: Map<GlobalId, NodeRecord>,
): Promise<void> {
  const [first] = group;
  if (first === undefined) return;
  const ids = group.map((one) => one.id);
  const { accounts, alerts, orders, positions, predictions, signals, trades } = context.datasources;
  switch (first.kind) {
    case 'account': {
      for (const id of ids) assertMay(context.actor, 'accounts:read', id);
      const rows = await accounts.findByIds(ids);
      return put(rows, (record) => ({ kind: 'account', record }));
    }
    case 'alert': {
      if (first.accountId !== SYSTEM_ACCOUNT) return;
      const rows = await alerts.findByIds(ids);
      return put(rows, (record) => ({ kind: 'alert', record }));
    }
    case 'order': {
      const rows = await orders.findByIds(first.accountId, ids);
      return put(rows, (record) => ({ kind: 'order', record }));
    }
    case 'position': {
      const rows = await positions.findByIds(first.accountId, ids);
      return put(rows, (record) => ({ kind: 'position', record }));
    }
    case 'prediction': {
      const rows = await predictions.findByIds(first.accountId, ids);
      return put(rows, (record) => ({ kind: 'prediction', record }));
    }
    case 'signal': {
      const rows = await signals.findByIds(first.accountId, ids);
      return put(rows, (record) => ({ kind: 'signal', record }));
    }
    case 'trade': {
      const rows = await trades.findByIds(first.accountId, ids);
      return put(rows, (record) => ({ kind: 'trade', record }));
    }
  }

  function put<Row>(rows: readonly (Row | null)[], wrap: (row: Row) => NodeRecord): void {
    for (const [place, row] of rows.entries()) {
      const id = group[place];
      if (id !== undefined && row !== null) found.set(id, wrap(row));
    }
  }
}
