import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Context } from '../../../context.ts';
import { encodeId, uuidOf } from '../../../datasources/id.ts';
import { changes } from '../../../resolvers/change.ts';
import { ACTOR, createTestFeed, makeContext, type TestFeed } from '../../support/feed.ts';
import { addAccount, append, makeChange } from '../../support/log.ts';

let test: TestFeed;
let context: Context;
let accounts = 0;
let account: string;

beforeAll(async () => {
  test = await createTestFeed();
});

afterAll(() => test.close());

beforeEach(async () => {
  accounts += 1;
  account = `account-${accounts}`;
  await addAccount(test.database, account);
  context = makeContext(test.database, test.openFeed());
});

const appendThings = (count: number) =>
  append(test.database, ...Array.from({ length: count }, () => makeChange({ accountId: account })));

const seqsOf = async (input: Parameters<typeof changes>[1]) => {
  const { nodes } = await changes(context, { account, ...input });
  return nodes.map(({ seq }) => Number(seq));
};

it('pages through the log, oldest first, by the cursors of its edges', async () => {
  await appendThings(7);
  const first = await changes(context, { account, first: 3 });
  expect(first.nodes.map(({ seq }) => seq)).toEqual(['1', '2', '3']);
  expect(first.pageInfo).toMatchObject({ hasNextPage: true, hasPreviousPage: false });
  expect(first.edges.map(({ cursor }) => cursor).at(-1)).toBe(first.pageInfo.endCursor);
  const next = await changes(context, { account, first: 4, after: first.pageInfo.endCursor });
  expect(next.nodes.map(({ seq }) => seq)).toEqual(['4', '5', '6', '7']);
  expect(next.pageInfo).toMatchObject({ hasNextPage: false, hasPreviousPage: true });
  expect(await seqsOf({ after: next.pageInfo.endCursor })).toEqual([]);
});

it('gives 100 at once unless told otherwise, and 500 at most', async () => {
  await appendThings(501);
  expect(await seqsOf({})).toHaveLength(100);
  expect(await seqsOf({ first: 500 })).toHaveLength(500);
  for (const first of [0, 501]) {
    await expect(changes(context, { account, first })).rejects.toMatchObject({
      code: 'BAD_INPUT',
      inputPath: ['first'],
    });
  }
});

describe('ids', () => {
  const [one, two] = [uuidOf(1_700_000_000_000), uuidOf(1_700_000_000_001)];

  beforeEach(async () => {
    const made = (entity: string, ids: string[]) => makeChange({ accountId: account, entity, ids });
    await append(
      test.database,
      made('position', [one]),
      made('prediction', [one, two]),
      made('setting', ['theme']),
    );
  });

  it('are global where the entity has such, else keys', async () => {
    const { nodes } = await changes(context, { account });
    expect(nodes.map(({ ids }) => ids)).toEqual([
      [encodeId('position', account, one)],
      [encodeId('prediction', account, one), encodeId('prediction', account, two)],
      ['theme'],
    ]);
  });

  it('filter by the history of a row, by batches and by keys', async () => {
    const ids = (...names: string[]) => seqsOf({ where: { ids: names } });
    expect(await ids(encodeId('position', account, one))).toEqual([1]);
    expect(await ids(encodeId('prediction', account, two))).toEqual([2]);
    expect(await ids('theme')).toEqual([3]);
    expect(await ids(encodeId('prediction', account, two), 'theme')).toEqual([2, 3]);
  });

  it('of another account are refused', async () => {
    const where = { ids: ['theme', encodeId('position', 'main', one)] };
    await expect(changes(context, { account, where })).rejects.toMatchObject({
      code: 'BAD_INPUT',
      inputPath: ['where', 'ids', '1'],
    });
  });
});

it.each(['x', 'ffffffff.1', 'snapshot.1'])('refuses %j as a cursor', async (after) => {
  await expect(changes(context, { account, after })).rejects.toMatchObject({
    code: 'BAD_INPUT',
    inputPath: ['after'],
  });
});

it('is for those who may read changes, of accounts that there are', async () => {
  const permissions = new Set(['accounts:read' as const]);
  const reader = makeContext(test.database, context.services.feed, {
    actor: { ...ACTOR, permissions },
  });
  await expect(changes(reader, { account })).rejects.toMatchObject({ code: 'FORBIDDEN' });
  await expect(changes(context, { account: 'nobody' })).rejects.toMatchObject({
    code: 'NOT_FOUND',
  });
});
