import { AppError } from '../errors.ts';
import type { Change, ChangeOperation, ChangeWhere } from './change.ts';
import { decodeId, encodeId, type IdKind, quote } from './id.ts';

/** A change as clients see it: ids are global where the entity has them. */
export interface PublicChange extends Change {
  readonly operation: ChangeOperation;
}

/** Entities whose rows have global ids. */
const KINDS: ReadonlySet<string> = new Set<IdKind>([
  'order',
  'position',
  'prediction',
  'signal',
  'trade',
]);

/** Changes of an outcome name the predictions they are of. */
const KIND_OF_ENTITY: Readonly<Record<string, IdKind>> = { outcome: 'prediction' };

/** Of those, the ones whose every change concerns one row. */
const SINGLE_KINDS: ReadonlySet<string> = new Set<IdKind>(['order', 'position', 'trade']);

/**
 * A filter with row ids, which are in the log; what is no global id is a key of something.
 *
 * @throws AppError BAD_INPUT for an id of another account
 */
export function toChangeWhere(
  accountId: string,
  where: ChangeWhere | null | undefined,
): ChangeWhere {
  if (!where?.ids) return where ?? {};
  const decoded = where.ids.map((id, index) => rowIdOf(accountId, id, index));
  const ids = decoded.map(({ id }) => id);
  const areSingle = decoded.every(({ kind }) => SINGLE_KINDS.has(kind));
  return areSingle ? { ...where, ids: null, singleIds: ids } : { ...where, ids };
}

function rowIdOf(
  accountId: string,
  id: string,
  index: number,
): { readonly kind: string; readonly id: string } {
  const decoded = decodeId(id);
  if (decoded === null || decoded.kind === 'account') return { kind: 'key', id };
  if (decoded.accountId === accountId) return decoded;
  throw new AppError('BAD_INPUT', `${quote(id)} does not belong to account ${accountId}.`, {
    path: ['where', 'ids', String(index)],
  });
}

/** A change with the ids that other fields accept. */
export function toPublic(change: Change): PublicChange {
  const { accountId, ids } = change;
  const kind = KIND_OF_ENTITY[change.entity] ?? change.entity;
  if (!KINDS.has(kind)) return change;
  // Just checked against the kinds.
  return { ...change, ids: ids.map((id) => encodeId(kind as IdKind, accountId, id)) };
}
