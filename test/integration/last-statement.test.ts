import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { inputOf, OPEN, openOne, refusalOf, UPDATE } from '../support/documents.ts';
import { openItem } from '../support/make.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer({ withChaos: true });
});

afterAll(() => server.stop());

const CHANGE = JSON.stringify([
  { a: 'main', e: 'thing', o: 'INSERT', i: ['x'], n: 1, b: null, f: {} },
]);

function appendAs(sql: TestServer['sql'], transactionId: string) {
  return sql`
    select seq from append_unit(${transactionId}, 1000, ${CHANGE}::text::json, 'key:test', 'request',
      'Test', '{}'::json, null, null, null, null, null)`;
}

describe('the last statement of a unit', () => {
  it('waits for a head no longer than the unit has time, and stores nothing then', async () => {
    const holder = server.connect();
    await holder`begin`;
    await holder`select from account_heads where account_id = 'main' for update`;
    const before = await server.inventory();
    const answer = await server.request(OPEN, inputOf([openItem()]), {
      headers: { 'x-deadline-ms': '150' },
    });
    expect(refusalOf(answer).extensions).toMatchObject({
      code: 'DEADLINE_EXCEEDED',
      retryable: true,
      executed: 'NO',
    });
    await holder`rollback`;
    expect(await server.inventory()).toEqual(before);
    // The session is as good as before.
    await openOne(server, openItem());
  });

  it('appends nothing when it is sent again outside of its transaction', async () => {
    const session = server.connect();
    const before = await server.inventory();
    await session`begin`;
    const [own] = await session`select pg_current_xact_id()::text as id`;
    await session`rollback`;
    await expect(appendAs(session, String(own?.id))).rejects.toMatchObject({ code: 'TW003' });
    expect(await server.inventory()).toEqual(before);
  });

  it('appends within its transaction', async () => {
    const session = server.connect();
    await session`begin`;
    const [own] = await session`select pg_current_xact_id()::text as id`;
    expect(await appendAs(session, String(own?.id))).toHaveLength(1);
    await session`rollback`;
  });

  // What the driver does on its own when a pooler or DISCARD took its prepared statements.
  it('is not torn when its prepared statement is gone', async () => {
    const position = await openOne(server, openItem());
    const update = (leverage: number) =>
      server.request(UPDATE, inputOf([{ id: position.id, leverage: String(leverage) }]));
    for (let leverage = 2; leverage < 10; leverage += 1) await update(leverage);
    const before = await server.inventory();
    await server.sql`
      create or replace function forget() returns trigger language plpgsql as $$
      begin
        execute 'deallocate all';
        return new;
      end $$`;
    await server.sql`
      create trigger forget after update on positions for each row execute function forget()`;
    const answer = await update(50);
    await server.sql`drop trigger forget on positions`;
    const after = await server.inventory();
    const isStored = answer.errors.length === 0;
    expect(isStored).toBe(JSON.stringify(after) !== JSON.stringify(before));
    // New sessions have lost nothing.
    server.chaos?.cut();
    expect((await update(51)).errors).toEqual([]);
  });

  it('gives the seqs of what it committed though its answer was lost', async () => {
    const lost = server.chaos?.cutAt('commit\u0000', 'after');
    const answer = await server.request(OPEN, inputOf([openItem()]));
    await lost;
    const [head] = await server.sql`select seq from account_heads where account_id = 'main'`;
    expect(answer.extensions.commit).toEqual([{ account: 'main', seq: String(head?.seq) }]);
  });
});
