import { encodeId, type IdKind, requireId } from '../datasources/id.ts';
import type { Keyset } from '../datasources/keyset.ts';
import { AppError } from '../errors.ts';

export const PAGE_SIZE_DEFAULT = 50;
export const PAGE_SIZE_MAX = 500;

export type SortDirection = 'ASC' | 'DESC';

export interface PageArguments {
  readonly sort?: SortDirection | null;
  readonly first?: number | null;
  readonly after?: string | null;
  readonly last?: number | null;
  readonly before?: string | null;
}

export interface PageInfo {
  readonly hasNextPage: boolean;
  readonly hasPreviousPage: boolean;
  readonly startCursor: string | null;
  readonly endCursor: string | null;
}

/** A page of rows; `totalCount` is a statement of its own and runs only when called. */
export interface Page<Row> {
  readonly nodes: readonly Row[];
  readonly pageInfo: PageInfo;
  /** The nodes with their cursors, made when they are asked for. */
  edges(): readonly { readonly cursor: string; readonly node: Row }[];
  totalCount(): Promise<number>;
}

/** Whose rows a page has, and how they are read. */
export interface PageSource<Row, Where> {
  readonly kind: IdKind;
  readonly accountId: string;
  readonly where: Where;
  readonly rows: Pick<Keyset<Row, Where>, 'list' | 'count'>;
}

/**
 * A page by keyset: the rows after (or before) a cursor in the order of their ids, which is that of
 * time. A cursor is the global id of a row: a page stays right while rows are added, and a cursor
 * holds for any filter and either direction of its own kind and account.
 *
 * @throws AppError BAD_INPUT for a cursor that is malformed or of another page, `first` with `last`,
 * or a size outside 1–500
 */
export async function readPage<Row extends { readonly id: string }, Where>(
  input: PageArguments,
  { kind, accountId, where, rows }: PageSource<Row, Where>,
): Promise<Page<Row>> {
  const { first, last } = input;
  if (isGiven(first) && isGiven(last)) {
    throw new AppError('BAD_INPUT', 'Give first or last, not both.', { path: ['last'] });
  }
  const isBackward = isGiven(last);
  const size = pageSize(isBackward ? last : first, isBackward ? 'last' : 'first');
  const after = isGiven(input.after) ? requireId(input.after, kind, accountId, ['after']) : null;
  const before = isGiven(input.before)
    ? requireId(input.before, kind, accountId, ['before'])
    : null;
  const isDescending = (input.sort ?? 'DESC') === 'DESC';
  const cut = isBackward
    ? { after: before, before: after, isDescending: !isDescending, limit: size + 1 }
    : { after, before, isDescending, limit: size + 1 };
  const found = await rows.list(accountId, where, cut);
  const hasMore = found.length > size;
  const nodes = found.slice(0, size);
  if (isBackward) nodes.reverse();
  const cursorOf = (node: Row | undefined) =>
    node === undefined ? null : encodeId(kind, accountId, node.id);
  return {
    edges: () => nodes.map((node) => ({ cursor: encodeId(kind, accountId, node.id), node })),
    nodes,
    pageInfo: {
      hasNextPage: isBackward ? before !== null : hasMore,
      hasPreviousPage: isBackward ? hasMore : after !== null,
      startCursor: cursorOf(nodes[0]),
      endCursor: cursorOf(nodes.at(-1)),
    },
    totalCount: () => rows.count(accountId, where),
  };
}

/** @throws AppError BAD_INPUT outside 1–500 */
export function pageSize(
  size: number | null | undefined,
  name: string,
  defaultSize: number = PAGE_SIZE_DEFAULT,
): number {
  const chosen = size ?? defaultSize;
  if (chosen < 1 || chosen > PAGE_SIZE_MAX) {
    throw new AppError('BAD_INPUT', `${name} is ${chosen}; it must be 1 to ${PAGE_SIZE_MAX}.`, {
      path: [name],
    });
  }
  return chosen;
}

function isGiven<T>(value: T | null | undefined): value is T {
  return value !== null && value !== undefined;
}
