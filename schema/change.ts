import { dataloaderGetter } from '@pothos/plugin-dataloader';
import type { Context } from '../context.ts';
import type { PublicChange } from '../datasources/public-change.ts';
import {
  type ChangeConnection as ConnectionRecord,
  changes,
  rowChanges,
} from '../resolvers/change.ts';
import { builder, LOADER_BATCH_MAX } from './builder.ts';
import { ChangeOperation } from './enums.ts';
import { PageInfo } from './page.ts';
import { Position } from './position.ts';
import { TimeRange } from './time-range.ts';

export const Change = builder.objectRef<PublicChange>('Change').implement({
  description: 'One committed fact: the audit trail, the feed and the history are the same log.',
  fields: (t) => ({
    seq: t.expose('seq', {
      type: 'BigInt',
      description: 'Its place in its account: 1, 2, 3, … without holes, in commit order.',
    }),
    at: t.expose('at', { type: 'DateTime' }),
    entity: t.exposeString('entity', { description: '`position`, `trade`, `prediction`, …' }),
    operation: t.expose('operation', { type: ChangeOperation }),
    ids: t.idList({
      description: 'The rows it concerns; of what has no id (candles), their keys.',
      resolve: ({ ids }) => [...ids],
    }),
    count: t.exposeInt('count', { description: 'How many rows: bulk writes are one change.' }),
    before: t.expose('before', { type: 'JSON', nullable: true }),
    after: t.expose('after', { type: 'JSON', nullable: true }),
    actor: t.exposeString('actor'),
    requestId: t.exposeString('requestId'),
    operationName: t.exposeString('operationName', { nullable: true }),
    hash: t.exposeString('hash', {
      description:
        'SHA-256 (hex) over the hash before it and this row: altering one breaks all after.',
    }),
  }),
});

const ChangeEdge = builder
  .objectRef<{ readonly cursor: string; readonly node: PublicChange }>('ChangeEdge')
  .implement({
    fields: (t) => ({
      cursor: t.exposeString('cursor'),
      node: t.field({ type: Change, resolve: ({ node }) => node }),
    }),
  });

const ChangeConnection = builder.objectRef<ConnectionRecord>('ChangeConnection').implement({
  fields: (t) => ({
    edges: t.field({ type: [ChangeEdge], resolve: ({ edges }) => [...edges] }),
    nodes: t.field({ type: [Change], resolve: ({ nodes }) => [...nodes] }),
    pageInfo: t.field({ type: PageInfo, resolve: ({ pageInfo }) => pageInfo }),
  }),
});

interface HistoryKey {
  readonly account: string;
  readonly id: string;
  readonly first: number | null;
  readonly after: string | null;
}

/** Histories of rows; those of one account and one page are read together. */
const historyLoader = dataloaderGetter<HistoryKey, ConnectionRecord, string>(
  { maxBatchSize: LOADER_BATCH_MAX, cacheKeyFn: (key: HistoryKey) => JSON.stringify(key) },
  (keys, context: object) => loadHistories(keys, context as Context),
  undefined,
  false,
);

async function loadHistories(
  keys: readonly HistoryKey[],
  context: Context,
): Promise<ConnectionRecord[]> {
  const pages = Map.groupBy(keys, ({ id: _id, ...page }) => JSON.stringify(page));
  const found = new Map<HistoryKey, ConnectionRecord>();
  for (const page of pages.values()) {
    const [first] = page;
    if (first === undefined) continue;
    const connections = await rowChanges(context, { ...first, ids: page.map(({ id }) => id) });
    for (const [place, key] of page.entries()) {
      const connection = connections[place];
      if (connection !== undefined) found.set(key, connection);
    }
  }
  // One was just put for each key.
  return keys.map((key) => found.get(key) as ConnectionRecord);
}

builder.objectField(Position, 'changes', (t) =>
  t.field({
    description: 'Its history, oldest first.',
    type: ChangeConnection,
    args: {
      first: t.arg.int({ defaultValue: 50, description: '1 to 500.' }),
      after: t.arg.string({ description: 'A cursor.' }),
    },
    resolve: ({ accountId, id }, { first, after }, context) =>
      historyLoader(context).load({
        account: accountId,
        id,
        first: first ?? null,
        after: after ?? null,
      }),
  }),
);

export const ChangeWhere = builder.inputType('ChangeWhere', {
  description: 'All of the given must hold. Indexed: one id; the order.',
  fields: (t) => ({
    entities: t.stringList(),
    ids: t.idList(),
    actor: t.string(),
    operations: t.field({ type: [ChangeOperation] }),
    at: t.field({ type: TimeRange }),
  }),
});

builder.queryField('changes', (t) =>
  t.field({
    description: 'The log of an account, oldest first.',
    type: ChangeConnection,
    nullable: true,
    args: {
      account: t.arg.id(),
      where: t.arg({ type: ChangeWhere }),
      after: t.arg.string({ description: 'A cursor; of a subscription as well.' }),
      first: t.arg.int({ defaultValue: 100, description: '1 to 500.' }),
    },
    resolve: (_root, args, context) => changes(context, args),
  }),
);
