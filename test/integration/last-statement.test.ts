import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { NO_RECORDER } from '../../datasources/change-recorder.ts';
import { holdWrites, writeAtOnce } from '../../datasources/held-writes.ts';
import { uuidOf } from '../../datasources/id.ts';
import { createOrderRepository } from '../../datasources/order.ts';
import { arrayLiteral } from '../../datasources/postgres-types.ts';
import { createSql, type StatementRunner } from '../../datasources/sql.ts';
import { makeCall } from '../support/call.ts';
import { COMMIT } from '../support/chaos.ts';
import { inputOf, OPEN, openOne, refusalOf, UPDATE } from '../support/documents.ts';
import { openItem } from '../support/make.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { makeName, orderItem, placeOne } from '../support/trading.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer({ withChaos: true });
});

afterAll(() => server.stop());

const CHANGE = JSON.stringify([{ a: 'main', e: 'thing', o: 'INSERT', i: ['x'], n: 1 }]);

const NOT_IN_TIME = { code: 'DEADLINE_EXCEEDED', retryable: true, executed: 'NO' };

function appendAs(sql: TestServer['sql'], transactionId: string) {
  return sql`
    select seq from append_unit(${transactionId}, 1000, ${CHANGE}::text::json, '', '{}',
      'key:test', 'request', 'Test', '{}'::json, null, null, null, null, null)`;
}

async function transactionOf(session: TestServer['sql']): Promise<string> {
  const [row] = await session`select pg_current_xact_id()::text as id`;
  return String(row?.id);
}

/** Statements of the product on a connection of the test's own. */
function runOn(session: TestServer['sql']): StatementRunner {
  // The library's type of parameters leaves out bytes and lists, which it takes.
  return async ({ text, parameters }) => {
    const values = parameters.map((value) => (Array.isArray(value) ? arrayLiteral(value) : value));
    return session.unsafe(text, values as string[]);
  };
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
    expect(refusalOf(answer).extensions).toMatchObject(NOT_IN_TIME);
    await holder`rollback`;
    expect(await server.inventory()).toEqual(before);
    // The session is as good as before.
    await openOne(server, openItem());
  });

  describe('with the rows that the unit writes before it', () => {
    const place = (clientOrderId: string, headers: Record<string, string> = {}) =>
      server.request<{ placeOrders: { results: readonly { status: string }[] } }>(
        'mutation ($input: PlaceOrdersInput!) { placeOrders(input: $input) { results { status } } }',
        { input: { account: 'main', mode: 'PER_ITEM', items: [orderItem({ clientOrderId })] } },
        { headers },
      );

    /** A session that has taken a clientOrderId and has not committed. */
    async function taking(clientOrderId: string) {
      const known = makeName();
      await place(known);
      const other = server.connect();
      await other`begin`;
      await other`
        insert into orders
        select (jsonb_populate_record(o, jsonb_build_object('id', gen_random_uuid(),
          'client_order_id', ${clientOrderId}::text, 'quantity', 77, 'item_hash', '\\x00'))).*
        from orders o where client_order_id = ${known}`;
      return other;
    }

    it('waits for a name no longer than the unit has time, and stores nothing then', async () => {
      const name = makeName();
      const holder = await taking(name);
      const before = await server.inventory();
      const answer = await place(name, { 'x-deadline-ms': '150' });
      expect(refusalOf(answer).extensions).toMatchObject(NOT_IN_TIME);
      await holder`rollback`;
      expect(await server.inventory()).toEqual(before);
      expect((await place(name)).data?.placeOrders.results).toEqual([{ status: 'CREATED' }]);
    });

    it('runs the unit again when another one has taken a name meanwhile', async () => {
      const name = makeName();
      const other = await taking(name);
      const placed = place(name);
      await server.untilBlocked(1);
      server.statements();
      await other`commit`;
      expect((await placed).data?.placeOrders.results).toEqual([{ status: 'CONFLICT' }]);
      expect(server.statements().filter((one) => one === 'transaction.begin')).toHaveLength(1);
      const rows = await server.sql`
        select trim_scale(quantity)::text as quantity from orders where client_order_id = ${name}`;
      expect(rows).toEqual([{ quantity: '77' }]);
    });
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

  it('writes nothing before them when that is sent again outside of its transaction', async () => {
    const known = makeName();
    const name = makeName();
    await placeOne(server, orderItem({ clientOrderId: known }));
    const lane = createSql(() => Promise.reject(new Error('it is only compiled')));
    const orders = createOrderRepository(writeAtOnce(createSql(runOn(server.sql))), NO_RECORDER);
    const [order] = await orders.findByClientOrderIds('main', [known]);
    if (order === undefined) throw new Error('it was placed');
    const held = holdWrites(lane);
    const writeIn = async (transactionId: string) => {
      const id = uuidOf(Date.now());
      await held.insertOrders('main', [{ ...order, id, clientOrderId: name }]);
      const write = await held.last(transactionId, makeCall());
      if (write === null) throw new Error('an order is held');
      return write.statement.compile();
    };
    const session = server.connect();
    const run = runOn(session);
    await session`begin`;
    const late = await writeIn(await transactionOf(session));
    await session`rollback`;
    await expect(run(late)).rejects.toMatchObject({ code: 'TW003' });
    expect(await server.sql`select from orders where client_order_id = ${name}`).toHaveLength(0);
    // In its transaction it would have been written.
    await session`begin`;
    await run(await writeIn(await transactionOf(session)));
    const found = await session`select from orders where client_order_id = ${name}`;
    await session`rollback`;
    expect(found).toHaveLength(1);
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
    const lost = server.chaos?.cutAt(COMMIT, 'after');
    const answer = await server.request(OPEN, inputOf([openItem()]));
    await lost;
    const [head] = await server.sql`select seq from account_heads where account_id = 'main'`;
    expect(answer.extensions.commit).toEqual([{ account: 'main', seq: String(head?.seq) }]);
  });
});
