import type { Cut } from '../datasources/position.ts';
import { quote } from '../datasources/id.ts';
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
  readonly edges: readonly { readonly cursor: string; readonly node: Row }[];
  readonly nodes: readonly Row[];
  readonly pageInfo: PageInfo;
  totalCount(): Promise<number>;
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/**
 * A page by keyset: the rows after (or before) a cursor in the order of their ids. A cursor is the
 * id of a row, so a page stays right while rows are added.
 *
 * @throws AppError BAD_INPUT for a malformed cursor, `first` with `last`, or a size outside 1–500
 */
export async function readPage<Row extends { readonly id: string }>(
  pageArguments: PageArguments,
  list: (cut: Cut) => Promise<readonly Row[]>,
  totalCount: () => Promise<number>,
): Promise<Page<Row>> {
  const { first, last } = pageArguments;
  if (isGiven(first) && isGiven(last)) {
    throw new AppError('BAD_INPUT', 'Give first or last, not both.', { path: ['last'] });
  }
  const isBackward = isGiven(last);
  const size = pageSize(isBackward ? last : first, isBackward ? 'last' : 'first');
  const after = cursor(pageArguments.after, 'after');
  const before = cursor(pageArguments.before, 'before');
  const isDescending = (pageArguments.sort ?? 'DESC') === 'DESC';
  const cut = isBackward
    ? { after: before, before: after, isDescending: !isDescending, limit: size + 1 }
    : { after, before, isDescending, limit: size + 1 };
  const rows = await list(cut);
  const hasMore = rows.length > size;
  const nodes = rows.slice(0, size);
  if (isBackward) nodes.reverse();
  return {
    edges: nodes.map((node) => ({ cursor: node.id, node })),
    nodes,
    pageInfo: {
      hasNextPage: isBackward ? before !== null : hasMore,
      hasPreviousPage: isBackward ? hasMore : after !== null,
      startCursor: nodes[0]?.id ?? null,
      endCursor: nodes.at(-1)?.id ?? null,
    },
    totalCount,
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

function cursor(text: string | null | undefined, name: string): string | null {
  if (text === null || text === undefined) return null;
  if (!UUID.test(text)) {
    throw new AppError('BAD_INPUT', `${quote(text)} is not a cursor of this list.`, {
      path: [name],
    });
  }
  return text;
}

function isGiven(value: number | null | undefined): value is number {
  return value !== null && value !== undefined;
}
