import type { Change } from '../../datasources/change.ts';
import type { ChangeRecorder, NewChange } from '../../datasources/change-recorder.ts';
import type { Database } from '../../datasources/database.ts';
import { createDatasources, type Datasources } from '../../datasources/datasources.ts';
import { instantOf } from '../../datasources/instant.ts';
import type { Sql } from '../../datasources/sql.ts';
import { makeCall } from './call.ts';

/** The seq of the last change of each account that a unit touched. */
export type Seqs = ReadonlyMap<string, string>;

/** Commits the changes as one transaction, past the unit of work. */
export function append(database: Database, ...changes: readonly NewChange[]): Promise<Seqs> {
  return commit(database, async (_datasources, recorder) => {
    for (const change of changes) recorder.record(change);
  });
}

/** Runs `work` in a transaction, appends what it recorded and commits; rolls back when it throws. */
export function commit(
  database: Database,
  work: (datasources: Datasources, recorder: ChangeRecorder, sql: Sql) => Promise<void>,
): Promise<Seqs> {
  return database.trading.withSession(makeCall(), async (session) => {
    await session.command('begin');
    const { recorder, changes } = createTestRecorder();
    try {
      await work(createDatasources(session.sql, recorder), recorder, session.sql);
    } catch (error) {
      await session.command('rollback');
      throw error;
    }
    const items = changes.map((change) => ({
      a: change.accountId,
      e: change.entity,
      o: change.operation,
      i: change.ids,
      n: change.count ?? change.ids.length,
      b: change.before ?? null,
      f: change.after ?? null,
    }));
    const rows = await session.sql<{ accountId: string; seq: string }>`
      /* test.append */
      select account_id, seq from append_changes(
        ${JSON.stringify(items)}::text::json, 'key:test', 'request', 'Test', '{}'::json,
        null, null, null, null, null)`;
    await session.command('commit');
    return new Map(rows.map((row) => [row.accountId, row.seq]));
  });
}

function createTestRecorder() {
  const changes: NewChange[] = [];
  const recorder: ChangeRecorder = {
    actor: 'key:test',
    at: instantOf(Date.now()),
    record: (change) => {
      changes.push(change);
    },
    expectTradingState: () => {},
    setTradingState: () => {},
    ownTradingState: () => null,
  };
  return { recorder, changes };
}

/** A change of one thing, by its key. */
export function makeChange(changes: Partial<NewChange> = {}): NewChange {
  return {
    accountId: 'main',
    entity: 'thing',
    operation: 'INSERT',
    ids: ['a'],
    before: null,
    after: { name: 'a' },
    ...changes,
  };
}

/** A change as it is read from the log. */
export function makeRow(seq: number, changes: Partial<Change> = {}): Change {
  return {
    accountId: 'main',
    seq: String(seq),
    at: '2026-11-23T04:46:08.120000Z',
    entity: 'thing',
    operation: 'INSERT',
    ids: ['a'],
    count: 1,
    before: null,
    after: null,
    actor: 'key:test',
    requestId: 'request',
    operationName: null,
    hash: '',
    ...changes,
  };
}

export async function addAccount(database: Database, id: string): Promise<void> {
  await run(
    database,
    (sql) => sql`
      with account as (insert into accounts (id, name) values (${id}, ${id}))
      insert into account_heads (account_id) values (${id})`,
  );
}

/** One statement, committed by itself. */
export async function run<Row>(
  database: Database,
  statement: (sql: Sql) => PromiseLike<readonly Row[]>,
): Promise<readonly Row[]> {
  return database.trading.withSession(makeCall(), async ({ sql }) => statement(sql));
}
