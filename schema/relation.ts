import { dataloaderGetter } from '@pothos/plugin-dataloader';
import type { Context } from '../context.ts';
import type { ListBounds } from '../datasources/keyset.ts';
import { LOADER_BATCH_MAX } from './builder.ts';

/** Rows of a relation whose length has no bound; the page of that noun has them all. */
export const RELATED_MAX = 500;

type Load<Value> = (
  context: Context,
  accountId: string,
  ids: readonly string[],
) => Promise<(id: string) => Value>;

/** What belongs to a row, by account and row id: one statement an account, however many rows. */
export function relationLoader<Value>(load: Load<Value>) {
  const loader = dataloaderGetter<string, Value, string>(
    { maxBatchSize: LOADER_BATCH_MAX },
    (keys, context: object) => loadAll(keys, context as Context, load),
    undefined,
    false,
  );
  return (context: Context, accountId: string, id: string): Promise<Value> =>
    loader(context).load(`${accountId} ${id}`);
}

async function loadAll<Value>(
  keys: readonly string[],
  context: Context,
  load: Load<Value>,
): Promise<Value[]> {
  const values = new Map<string, Value>();
  const byAccount = Map.groupBy(keys, (key) => key.slice(0, key.indexOf(' ')));
  for (const [accountId, group] of byAccount) {
    const ids = group.map((key) => key.slice(accountId.length + 1));
    const find = await load(context, accountId, ids);
    for (const id of ids) values.set(`${accountId} ${id}`, find(id));
  }
  // Each key was just set; Value may include undefined for no other reason.
  return keys.map((key) => values.get(key) as Value);
}

/** Rows by their ids. */
export function byId<Row extends { readonly id: string }>(
  rows: readonly (Row | null)[],
): (id: string) => Row | null {
  const found = new Map(rows.flatMap((row) => (row === null ? [] : [[row.id, row] as const])));
  return (id) => found.get(id) ?? null;
}

/** Lists of what belongs to a row, of a length that is not known: bounded in all. */
export function listLoader<Row>(
  load: (
    context: Context,
    accountId: string,
    ids: readonly string[],
    bounds: ListBounds,
  ) => Promise<readonly { readonly parentId: string; readonly row: Row }[]>,
) {
  return relationLoader(async (context, accountId, ids) =>
    byParent(
      await context.budget.takeRows((all) =>
        load(context, accountId, ids, { each: RELATED_MAX, all }),
      ),
    ),
  );
}

/** Lists of rows by the id of what they belong to. */
function byParent<Row>(
  rows: readonly { readonly parentId: string; readonly row: Row }[],
): (id: string) => readonly Row[] {
  const found = Map.groupBy(rows, ({ parentId }) => parentId);
  return (id) => found.get(id)?.map(({ row }) => row) ?? [];
}

/** Positions by id: of orders and trades alike, so that a page of either is one statement. */
export const loadPosition = relationLoader(async (context, accountId, ids) =>
  byId(await context.datasources.positions.findByIds(accountId, ids)),
);

/** Orders by id. */
export const loadOrder = relationLoader(async (context, accountId, ids) =>
  byId(await context.datasources.orders.findByIds(accountId, ids)),
);
