import { requireAccount } from '../access.ts';
import type { Context } from '../context.ts';
import type { Change, ChangeWhere } from '../datasources/change.ts';
import { decodeCursor, encodeCursor, isSameChange } from '../datasources/cursor.ts';
import { type PublicChange, toChangeWhere, toPublic } from '../datasources/public-change.ts';
import { AppError } from '../errors.ts';
import { type PageInfo, pageSize } from './page.ts';

const CHANGES_DEFAULT = 100;

export interface ChangeConnection {
  readonly edges: readonly { readonly cursor: string; readonly node: PublicChange }[];
  readonly nodes: readonly PublicChange[];
  readonly pageInfo: PageInfo;
}

/**
 * The log of an account, oldest first. A cursor is `<epoch>.<seq>`, the one of a subscription too.
 *
 * @throws AppError BAD_INPUT for a malformed cursor, one of another history, or `first` outside
 * 1–500; FORBIDDEN, NOT_FOUND
 */
export async function changes(
  context: Context,
  input: {
    account?: string | null;
    where?: ChangeWhere | null;
    after?: string | null;
    first?: number | null;
  },
): Promise<ChangeConnection> {
  const accountId = requireAccount(context.actor, input.account, 'changes:read');
  const limit = pageSize(input.first, 'first', CHANGES_DEFAULT);
  const { changes: repository } = context.datasources;
  const where = toChangeWhere(accountId, input.where);
  const { epoch } = await repository.getHead(accountId);
  const afterSeq = await seqAfter(repository, accountId, epoch, input.after);
  const rows = await repository.list(accountId, where, { afterSeq, limit: limit + 1 });
  return connectionOf(rows, { limit, epoch, afterSeq });
}

/**
 * The history of each of these rows, oldest first, in the order of `ids`: two statements, however
 * many rows. What was written in bulk is not part of it.
 *
 * @throws AppError like `changes`
 */
export async function rowChanges(
  context: Context,
  input: { account: string; ids: readonly string[]; after?: string | null; first?: number | null },
): Promise<readonly ChangeConnection[]> {
  const accountId = requireAccount(context.actor, input.account, 'changes:read');
  const limit = pageSize(input.first, 'first');
  const { changes: repository } = context.datasources;
  const { epoch } = await repository.getHead(accountId);
  const afterSeq = await seqAfter(repository, accountId, epoch, input.after);
  const rows = await repository.listByRows(accountId, input.ids, { afterSeq, limit: limit + 1 });
  const byRow = Map.groupBy(rows, ({ ids: [id] }) => id);
  return input.ids.map((id) => connectionOf(byRow.get(id) ?? [], { limit, epoch, afterSeq }));
}

function connectionOf(
  rows: readonly Change[],
  {
    limit,
    epoch,
    afterSeq,
  }: { readonly limit: number; readonly epoch: string; readonly afterSeq: string | null },
): ChangeConnection {
  const nodes = rows.slice(0, limit).map(toPublic);
  const edges = nodes.map((node) => ({ cursor: encodeCursor(epoch, node.seq, node.hash), node }));
  return {
    edges,
    nodes,
    pageInfo: {
      hasNextPage: rows.length > limit,
      hasPreviousPage: afterSeq !== null && afterSeq !== '0',
      startCursor: edges[0]?.cursor ?? null,
      endCursor: edges.at(-1)?.cursor ?? null,
    },
  };
}

/** @throws AppError BAD_INPUT for a cursor of another history */
async function seqAfter(
  repository: Context['datasources']['changes'],
  accountId: string,
  epoch: string,
  after: string | null | undefined,
): Promise<string | null> {
  if (after === null || after === undefined) return null;
  const cursor = decodeCursor(after);
  const isOwn =
    cursor.epoch === epoch &&
    (cursor.hash === '' || isSameChange(cursor, await repository.findHash(accountId, cursor.seq)));
  if (isOwn) return String(cursor.seq);
  throw new AppError(
    'BAD_INPUT',
    'This cursor is not of this history: the database was restored, or it is of a snapshot.',
    { path: ['after'] },
  );
}
