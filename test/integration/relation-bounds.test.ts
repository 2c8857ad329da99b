import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ERRORS_MAX } from '../../edge.ts';
import { NODES_MAX } from '../../limits.ts';
import { refusalOf } from '../support/documents.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { connectSocket } from '../support/socket.ts';
import { makeAccount } from '../support/trading.ts';

/** Of relations nobody knows how long they are before they are read: here they are long. */

const EACH = 500;

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.stop());

/** An account with open positions that have so many trades each. */
async function fill(...trades: readonly number[]): Promise<string> {
  const account = await makeAccount(server);
  await server.sql`
    insert into positions (account_id, id, exchange, symbol, side, status, quantity, entry_price,
      opened_at, updated_at)
    select ${account}, md5(${account} || place)::uuid, 'bybit', 'S' || place, 'LONG', 'OPEN', 1, 1,
      now(), now()
    from generate_series(1, ${trades.length}) as place`;
  await server.sql`
    insert into trades (account_id, id, exchange, symbol, side, price, quantity, executed_at,
      position_id)
    select ${account}, gen_random_uuid(), 'bybit', 'S' || place, 'BUY', 1, 1, now(),
      md5(${account} || place)::uuid
    from unnest(${`{${trades.join(',')}}`}::int[]) with ordinality as of (count, place),
      generate_series(1, of.count)`;
  return account;
}

const PAGE = `query ($account: ID!) {
  positions(account: $account, first: 500) { nodes { trades { id } } } }`;

it('makes as many list items as an answer may have, and not one more', async () => {
  // The positions themselves are items, too.
  const account = await fill(
    ...Array.from({ length: 99 }, () => EACH),
    NODES_MAX - 100 - 99 * EACH,
  );
  expect((await server.request(PAGE, { account })).errors).toEqual([]);
  await server.sql`
    insert into trades (account_id, id, exchange, symbol, side, price, quantity, executed_at,
      position_id)
    select account_id, gen_random_uuid(), exchange, symbol, 'BUY', 1, 1, now(), id from positions
    where account_id = ${account} and symbol = 'S100'`;
  const { errors, data } = await server.request(PAGE, { account });
  expect(data).toEqual({ positions: null });
  expect(errors).toHaveLength(1);
  expect(errors[0]?.extensions).toMatchObject({
    code: 'QUERY_TOO_EXPENSIVE',
    retryable: false,
    nodesMax: NODES_MAX,
  });
});

it('reads no more rows than that, however many there are', async () => {
  const account = await fill(...Array.from({ length: 220 }, () => EACH));
  const rows: number[] = [];
  const { statistics } = server.tradewind.database;
  const { record } = statistics;
  Object.assign(statistics, {
    record(run: Parameters<typeof record>[0]) {
      if (run.name.startsWith('trades.list')) rows.push(run.rows);
      record(run);
    },
  });
  const text = `query ($account: ID!) {
    a: positions(account: $account, first: 110) { nodes { trades { id } } }
    b: positions(account: $account, last: 110) { nodes { trades { id } } } }`;
  const { errors } = await server.request(text, { account });
  Object.assign(statistics, { record });
  expect(errors.map(({ extensions }) => extensions.code)).toContain('QUERY_TOO_EXPENSIVE');
  expect(rows.length).toBeGreaterThan(0);
  for (const count of rows) expect(count).toBeLessThanOrEqual(NODES_MAX + 1);
});

/** 250,000 items of 500 rows, which are read once. */
const CIRCLE = 'trades { position { trades { id } } }';

describe('relations that lead in a circle', () => {
  it('end a query, with few errors though each row has one', async () => {
    const account = await fill(EACH);
    const text = `query ($account: ID!) {
      positions(account: $account) { nodes { ${CIRCLE} } } }`;
    const { errors } = await server.request(text, { account });
    expect(errors.map(({ extensions }) => extensions.code)).toEqual(['QUERY_TOO_EXPENSIVE']);
    const nullable = `query ($account: ID!) {
      positions(account: $account) { nodes { trades { openedPosition { trades { id } } } } } }`;
    await server.sql`
      update trades set opened_position_id = position_id where account_id = ${account}`;
    const many = await server.request(nullable, { account });
    expect(many.errors).toHaveLength(ERRORS_MAX);
  });

  it('refuse a mutation, which stores nothing', async () => {
    const account = await fill(EACH);
    const before = await server.inventory();
    const text = `mutation ($input: UpdatePositionsInput!) {
      updatePositions(input: $input) { results { position { ${CIRCLE} } } } }`;
    const items = [{ exchange: 'bybit', symbol: 'S1', side: 'LONG', leverage: '7' }];
    const answer = await server.request(text, { input: { account, items } });
    expect(refusalOf(answer).extensions).toMatchObject({
      code: 'QUERY_TOO_EXPENSIVE',
      executed: 'NO',
    });
    expect(await server.inventory()).toEqual(before);
    const [position] = await server.sql`
      select version from positions where account_id = ${account}`;
    expect(position?.version).toBe(1);
  });

  it('are counted for each event of a subscription anew', async () => {
    // 20 + 400 items an event: 130 of them are more than one answer may have.
    const account = await fill(20, EACH);
    const socket = await connectSocket(server);
    const query = `subscription ($account: ID!) {
      positionChanges(account: $account) { seq position { ${CIRCLE} } } }`;
    socket.send({ type: 'subscribe', id: '1', payload: { query, variables: { account } } });
    await socket.next('1');
    const update = async (symbol: string, leverage: number) => {
      const items = [{ exchange: 'bybit', symbol, side: 'LONG', leverage: `${leverage}` }];
      await server.data(
        `mutation ($input: UpdatePositionsInput!) {
          updatePositions(input: $input) { counts { updated } } }`,
        { input: { account, items } },
      );
      return (await socket.next('1')).payload;
    };
    for (let event = 0; event < 130; event += 1) {
      expect(await update('S1', 2 + event)).not.toHaveProperty('errors');
    }
    expect(await update('S2', 2)).toMatchObject({
      errors: [{ extensions: { code: 'QUERY_TOO_EXPENSIVE' } }],
    });
    expect(await update('S1', 1)).not.toHaveProperty('errors');
    socket.close();
  });
});
