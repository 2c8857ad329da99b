import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createChangeRepository, readHeads, verifyChain } from '../../../datasources/change.ts';
import { createDatabase, type Database } from '../../../datasources/database.ts';
import type { Sql } from '../../../datasources/sql.ts';
import { makeCall } from '../../support/call.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { addAccount, append, makeChange, run } from '../../support/log.ts';

let testDatabase: TestDatabase;
let database: Database;
let accounts = 0;
let accountId: string;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = createDatabase({
    target: testDatabase.target,
    slots: { trading: 2, interactive: 2, analytics: 1, feed: 1 },
    log: { warn: () => undefined },
  });
});

afterAll(async () => {
  await database.close();
  await testDatabase.drop();
});

// An account of its own for each test: seqs begin at 1.
beforeEach(async () => {
  accounts += 1;
  accountId = `account-${accounts}`;
  await addAccount(database, accountId);
});

const repository = () => createChangeRepository(database.interactive.sql(makeCall()));

function appendThings(count: number) {
  const changes = Array.from({ length: count }, (_change, index) =>
    makeChange({ accountId, ids: [`thing-${index + 1}`], after: { number: index + 1 } }),
  );
  return append(database, ...changes);
}

describe('the repository', () => {
  it('gives a change with everything that was recorded', async () => {
    await append(
      database,
      makeChange({ accountId, operation: 'UPDATE', before: { a: '1.50' }, after: { a: null } }),
    );
    const [change] = await repository().listAfter(accountId, '0', 10);
    expect(change).toEqual({
      accountId,
      seq: '1',
      at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/),
      entity: 'thing',
      operation: 'UPDATE',
      ids: ['a'],
      count: 1,
      before: { a: '1.50' },
      after: { a: null },
      actor: 'key:test',
      requestId: 'request',
      operationName: 'Test',
      hash: expect.stringMatching(/^[0-9a-f]{64}$/),
    });
  });

  it('gives the head, and NOT_FOUND without an account', async () => {
    await appendThings(3);
    expect(await repository().getHead(accountId)).toMatchObject({
      accountId,
      seq: '3',
      epoch: expect.stringMatching(/^[0-9a-f]{8}$/),
      tradingState: 'ACTIVE',
    });
    await expect(repository().getHead('nobody')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('lists by seq, after a seq and up to a limit', async () => {
    await appendThings(12);
    const after = await repository().listAfter(accountId, '8', 3);
    expect(after.map(({ seq }) => seq)).toEqual(['9', '10', '11']);
    const all = await repository().list(accountId, {}, { afterSeq: null, limit: 100 });
    expect(all.map(({ seq }) => Number(seq))).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
  });

  it('reads the heads of those accounts that exist in one statement', async () => {
    await appendThings(2);
    const before = calls('changes.readHeads');
    const sql = database.interactive.sql(makeCall());
    const heads = await readHeads(sql, ['main', 'nobody', accountId]);
    expect(new Map(heads.map((head) => [head.accountId, head.seq]))).toEqual(
      new Map([
        ['main', '0'],
        [accountId, '2'],
      ]),
    );
    expect(calls('changes.readHeads')).toBe(before + 1);
  });
});

describe('a filter', () => {
  const seqsOf = async (where: Parameters<ReturnType<typeof repository>['list']>[1]) => {
    const rows = await repository().list(accountId, where, { afterSeq: null, limit: 100 });
    return rows.map(({ seq }) => Number(seq));
  };

  beforeEach(async () => {
    await append(database, makeChange({ accountId, ids: ['a'] }));
    await append(database, makeChange({ accountId, ids: ['b'], entity: 'other' }));
    await append(database, makeChange({ accountId, ids: ['a', 'b', 'c'] }));
    await append(database, makeChange({ accountId, ids: ['a'], operation: 'UPDATE' }));
  });

  it('of ids finds the batches that name one', async () => {
    expect(await seqsOf({ ids: ['a'] })).toEqual([1, 3, 4]);
    expect(await seqsOf({ ids: ['c', 'b'] })).toEqual([2, 3]);
    expect(await seqsOf({ ids: [] })).toEqual([]);
  });

  it('of single ids finds the history of rows', async () => {
    expect(await seqsOf({ singleIds: ['a'] })).toEqual([1, 4]);
    expect(await seqsOf({ singleIds: ['a', 'b'] })).toEqual([1, 2, 4]);
  });

  it('of entities, operations and an actor', async () => {
    expect(await seqsOf({ entities: ['other', 'none'] })).toEqual([2]);
    expect(await seqsOf({ operations: ['UPDATE'] })).toEqual([4]);
    expect(await seqsOf({ actor: 'key:test' })).toEqual([1, 2, 3, 4]);
    expect(await seqsOf({ actor: 'key:other' })).toEqual([]);
    expect(await seqsOf({ entities: ['thing'], operations: ['INSERT'], ids: ['b'] })).toEqual([3]);
  });

  it('of time includes its start and not its end', async () => {
    const rows = await repository().listAfter(accountId, '0', 10);
    const [from, to] = [rows[1]?.at, rows[3]?.at];
    expect(await seqsOf({ at: { from, to } })).toEqual([2, 3]);
  });
});

describe('the chain', () => {
  const verify = (fromSeq?: string) =>
    verifyChain(database.analytics.sql(makeCall()), accountId, fromSeq);
  const tamper = (statement: (sql: Sql) => PromiseLike<readonly unknown[]>) =>
    run(database, statement);

  it('holds as it was written', async () => {
    await appendThings(5);
    await appendThings(3);
    expect(await verify()).toEqual({ accountId, checked: 8, head: '8', firstBad: null });
  });

  it.each([
    ['quotes and control characters', ['x'], { text: '"\\ \n\t\u0001 \u007f' }],
    ['letters of all kinds, and beyond the basic plane', ['é'], { ключ: '語 \u{1f600}', a: 'ß' }],
    ['numbers, lists and nothing', ['x'], { n: 1e21, m: -0.5, list: [1, [], {}, null], is: true }],
    ['several ids', ['a', 'b "c"', 'null', ''], null],
    ['no ids', [], {}],
  ])('is hashed as it always was: %s', async (_what, ids, after) => {
    const [row] = await run(
      database,
      (sql) => sql<{ now: string; before: string }>`
        select encode(change_row_hash(a, 'thing', 'UPDATE', i, 3, null, d, 'k', null, 'N'), 'hex') as now,
          encode(sha256(convert_to(jsonb_build_array(
            a, 'thing', 'UPDATE', i, 3, null, d::text, 'k', null, 'N')::text, 'UTF8')), 'hex')
            as before
        from (select ${accountId}::text as a, ${ids}::text[] as i,
          ${after === null ? null : JSON.stringify(after)}::text::jsonb as d) as one`,
    );
    expect(row?.now).toBe(row?.before);
  });

  it('holds while there is nothing, and for the reserved account', async () => {
    expect(await verify()).toEqual({ accountId, checked: 0, head: '0', firstBad: null });
    await append(database, makeChange({ accountId: '_system' }));
    const sql = database.analytics.sql(makeCall());
    expect(await verifyChain(sql, '_system')).toMatchObject({ checked: 1, firstBad: null });
  });

  it.each([
    [
      'after',
      (sql: Sql) => sql`update changes set after = '{"number": 99}'
      where account_id = ${accountId} and seq = 4`,
    ],
    [
      'actor',
      (sql: Sql) => sql`update changes set actor = 'key:nobody'
      where account_id = ${accountId} and seq = 4`,
    ],
    [
      'ids',
      (sql: Sql) => sql`update changes set ids = '{x}'
      where account_id = ${accountId} and seq = 4`,
    ],
    [
      'row hash',
      (sql: Sql) => sql`update changes set row_hash = sha256('x')
      where account_id = ${accountId} and seq = 4`,
    ],
  ])('finds a row whose %s was altered', async (_what, statement) => {
    await appendThings(6);
    await tamper(statement);
    const firstBad = { seq: '4', reason: 'the row was altered' };
    expect(await verify()).toEqual({ accountId, checked: 3, head: '6', firstBad });
  });

  it('finds a row whose content was altered together with its own hash', async () => {
    await appendThings(6);
    await tamper(
      (sql) => sql`
        update changes set actor = 'key:x', row_hash = change_row_hash(account_id, entity,
          operation, ids, count, before, after, 'key:x', request_id, operation_name)
        where account_id = ${accountId} and seq = 4`,
    );
    expect((await verify()).firstBad?.seq).toBe('4');
  });

  it('finds an altered instant', async () => {
    await appendThings(6);
    await tamper(
      (sql) => sql`update changes set at = at - interval '1 microsecond'
        where account_id = ${accountId} and seq = 2`,
    );
    expect((await verify()).firstBad?.seq).toBe('2');
  });

  it.each([
    ['the first row', 1, 2],
    ['a row in the middle', 3, 4],
    ['the last row', 6, 6],
  ])('finds that %s was removed', async (_which, removed, bad) => {
    await appendThings(6);
    await tamper(
      (sql) => sql`delete from changes where account_id = ${accountId} and seq = ${removed}`,
    );
    const { firstBad } = await verify();
    expect(firstBad).toEqual({ seq: String(bad), reason: expect.stringContaining('missing') });
  });

  it.each([
    [
      'hash',
      (sql: Sql) => sql`update account_heads set hash = sha256('x')
      where account_id = ${accountId}`,
      '6',
    ],
    [
      'seq, taken back',
      (sql: Sql) => sql`update account_heads h set seq = 5, hash = c.hash
      from changes c where h.account_id = ${accountId}
        and c.account_id = h.account_id and c.seq = 5`,
      '6',
    ],
    [
      'seq, moved on',
      (sql: Sql) => sql`update account_heads set seq = 7
      where account_id = ${accountId}`,
      '7',
    ],
  ])('finds a head whose %s was altered', async (_what, statement, seq) => {
    await appendThings(6);
    await tamper(statement);
    expect((await verify()).firstBad?.seq).toBe(seq);
  });

  it('is followed across chunks of 10,000', async () => {
    await appendThings(10_002);
    expect(await verify()).toMatchObject({ checked: 10_002, firstBad: null });
    await tamper((sql) => sql`delete from changes where account_id = ${accountId} and seq = 10001`);
    const firstBad = { seq: '10002', reason: 'rows before it are missing' };
    expect(await verify()).toMatchObject({ checked: 10_000, firstBad });
  });

  it('can be followed from a later row, as after retention', async () => {
    await appendThings(6);
    await tamper((sql) => sql`delete from changes where account_id = ${accountId} and seq <= 3`);
    expect(await verify('4')).toEqual({ accountId, checked: 3, head: '6', firstBad: null });
    expect((await verify()).firstBad?.seq).toBe('4');
  });

  it('says when there is no such account', async () => {
    const report = await verifyChain(database.analytics.sql(makeCall()), 'nobody');
    expect(report).toMatchObject({ head: null, firstBad: { seq: '0' } });
  });
});

function calls(name: string): number {
  const { statements } = database.statistics.snapshot();
  return statements.find((statement) => statement.name === name)?.calls ?? 0;
}
