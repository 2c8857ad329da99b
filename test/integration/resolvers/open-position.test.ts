import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  codesOf,
  inputOf,
  OPEN,
  open,
  openOne,
  positionOf,
  refusalOf,
  statusesOf,
} from '../../support/documents.ts';
import { type Item, makeSymbol, many, openItem } from '../../support/make.ts';
import { startTestServer, type TestServer } from '../../support/server.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.stop());

/** An account of its own, for what concerns all of an account. */
async function makeAccount(name: string, changes: { hedgeMode?: boolean; state?: string } = {}) {
  const { sql } = server;
  await sql`insert into accounts (id, name, hedge_mode)
    values (${name}, ${name}, ${changes.hedgeMode ?? false})`;
  await sql`insert into account_heads (account_id, trading_state)
    values (${name}, ${changes.state ?? 'ACTIVE'})`;
  return name;
}

function setTradingState(account: string, state: string) {
  return server.sql`update account_heads set trading_state = ${state} where account_id = ${account}`;
}

const PER_ITEM = { mode: 'PER_ITEM' } as const;

describe('openPositions', () => {
  it('opens a position with everything it was given', async () => {
    const item = openItem({
      clientId: 'open-1',
      side: 'SHORT',
      quantity: '0.25',
      entryPrice: '64000.5',
      stopLossPrice: '65000',
      takeProfitPrice: '60000',
      leverage: '10',
      strategy: 'breakout',
      metadata: { reason: 'test', levels: ['1.5', null] },
      openedAt: '2026-03-04T05:06:07.123456+02:00',
    });
    const { counts, results } = await open(server, [item]);
    expect(counts).toMatchObject({ created: 1, rejected: 0 });
    const { clientId: _clientId, ...given } = item;
    expect(results[0]).toMatchObject({
      index: 0,
      status: 'CREATED',
      error: null,
      position: {
        ...given,
        openedAt: '2026-03-04T03:06:07.123456Z',
        status: 'OPEN',
        markPrice: null,
        realizedPnl: '0',
        unrealizedPnl: '0',
        fees: '0',
        closedAt: null,
        closeReason: null,
        version: 1,
      },
    });
  });

  it('writes the trade that opened the position', async () => {
    const { id, openedAt } = await openOne(server, openItem({ side: 'SHORT', strategy: 'grid' }));
    const trades = await server.sql`
      select side, price::text, quantity::text, realized_pnl::text, strategy, executed_at, order_id
      from trades where position_id = ${id.split('.')[2] ?? ''}`;
    expect([...trades]).toEqual([
      {
        side: 'SELL',
        price: '100.000000000000000000',
        quantity: '2.000000000000000000',
        realizedPnl: '0.000000000000000000',
        strategy: 'grid',
        executedAt: openedAt,
        orderId: null,
      },
    ]);
  });

  it('takes nine statements for any number of items', async () => {
    server.statements();
    await open(
      server,
      many(50, () => openItem()),
    );
    expect(server.statements()).toEqual([
      'transaction.begin',
      'accounts.findByIds',
      'positions.lockInstruments',
      'positions.findForOpening',
      'positions.insertMany',
      'marks.find',
      'trades.insertMany',
      'changes.append',
      'transaction.commit',
    ]);
  });

  it('answers each item in input order under PER_ITEM and stores those that it can', async () => {
    const taken = await openOne(server, openItem());
    const repeated = openItem({ clientId: 'per-item-1' });
    await openOne(server, repeated);
    const items = [
      openItem(),
      openItem({ quantity: '-1' }),
      openItem({ symbol: taken.symbol }),
      repeated,
      { ...repeated, quantity: '3' },
      openItem({ stopLossPrice: '101' }),
    ];
    const batch = await open(server, items.toSpliced(4, 1), PER_ITEM);
    expect(statusesOf(batch)).toEqual(['CREATED', 'REJECTED', 'CONFLICT', 'REPLAYED', 'REJECTED']);
    expect(codesOf(batch)).toEqual([
      null,
      'BAD_INPUT',
      'POSITION_EXISTS',
      null,
      'STOP_ON_WRONG_SIDE',
    ]);
    expect(batch.counts).toEqual({
      created: 1,
      updated: 0,
      unchanged: 0,
      replayed: 1,
      conflict: 1,
      notFound: 0,
      rejected: 2,
      notAttempted: 0,
    });
    expect(batch.results.map((result) => result.error?.path ?? null)).toEqual([
      null,
      ['input', 'items', '1', 'quantity'],
      ['input', 'items', '2'],
      null,
      ['input', 'items', '4', 'stopLossPrice'],
    ]);
    expect(positionOf(batch.results[2]).id).toBe(taken.id);
  });

  it('stores nothing under ATOMIC when one item is refused, and says so of each', async () => {
    const before = await server.inventory();
    const items = [openItem(), openItem({ symbol: 'lower' }), openItem()];
    const refusal = refusalOf(await server.request(OPEN, inputOf(items)));
    expect(refusal.extensions).toMatchObject({
      code: 'BATCH_REJECTED',
      executed: 'NO',
      retryable: false,
      path: ['input', 'items', '1', 'symbol'],
      items: [
        { index: 0, status: 'NOT_ATTEMPTED', code: null, message: null, path: null },
        {
          index: 1,
          status: 'REJECTED',
          code: 'BAD_INPUT',
          path: ['input', 'items', '1', 'symbol'],
        },
        { index: 2, status: 'NOT_ATTEMPTED', code: null, message: null, path: null },
      ],
    });
    expect(refusal.path).toEqual(['openPositions']);
    expect(await server.inventory()).toEqual(before);
  });

  it('gives the same answers under VALIDATE_ONLY, and keeps neither row nor key', async () => {
    const before = await server.inventory();
    const items = [openItem(), openItem({ quantity: '0' })];
    const headers = { 'idempotency-key': 'validate-1' };
    const batch = await open(server, items, { mode: 'VALIDATE_ONLY', headers });
    expect(statusesOf(batch)).toEqual(['CREATED', 'REJECTED']);
    expect(await server.inventory()).toEqual(before);
    // The key is still free for the real thing.
    const real = await open(server, [items[0] ?? {}], { headers });
    expect(statusesOf(real)).toEqual(['CREATED']);
  });

  it('refuses fields of which only some validate', async () => {
    const before = await server.inventory();
    const refusal = refusalOf(
      await server.request(
        `mutation ($a: OpenPositionsInput!, $b: OpenPositionsInput!) {
          a: openPositions(input: $a) { counts { created } }
          b: openPositions(input: $b) { counts { created } }
        }`,
        {
          a: { account: 'main', mode: 'VALIDATE_ONLY', items: [openItem()] },
          b: { account: 'main', mode: 'PER_ITEM', items: [openItem()] },
        },
      ),
    );
    expect(refusal.extensions).toMatchObject({ code: 'BAD_INPUT', path: ['input', 'mode'] });
    expect(await server.inventory()).toEqual(before);
  });

  it('replays the same item under its clientId, also once the position is closed', async () => {
    const item = openItem({ clientId: 'replay-1' });
    const opened = await openOne(server, item);
    const again = await open(server, [item]);
    expect(statusesOf(again)).toEqual(['REPLAYED']);
    expect(positionOf(again.results[0])).toEqual(opened);
    const closed = await server.data<{ closePositions: { results: { status: string }[] } }>(
      `mutation ($input: ClosePositionsInput!) {
        closePositions(input: $input) { results { status } }
      }`,
      inputOf([{ id: opened.id, price: '120' }]),
    );
    expect(closed.closePositions.results).toEqual([{ status: 'UPDATED' }]);
    const late = await open(server, [item]);
    expect(statusesOf(late)).toEqual(['REPLAYED']);
    expect(positionOf(late.results[0]).status).toBe('CLOSED');
  });

  it.each<[string, Item]>([
    ['quantity', { quantity: '2.5' }],
    ['metadata', { metadata: { a: 1 } }],
    ['instant', { openedAt: '2026-01-01T00:00:00Z' }],
    ['symbol', { symbol: 'OTHERUSDT' }],
  ])('is a conflict when the clientId comes with another %s', async (what, changes) => {
    const item = openItem({ clientId: `reused-${what}` });
    const opened = await openOne(server, item);
    const batch = await open(server, [{ ...item, ...changes }], PER_ITEM);
    expect(statusesOf(batch)).toEqual(['CONFLICT']);
    expect(codesOf(batch)).toEqual(['CLIENT_ID_REUSED']);
    expect(positionOf(batch.results[0]).id).toBe(opened.id);
  });

  it('refuses the second item of a batch with the same clientId or instrument', async () => {
    const first = openItem({ clientId: 'twice' });
    const items = [first, openItem({ clientId: 'twice' }), openItem({ symbol: first.symbol })];
    const batch = await open(server, items, PER_ITEM);
    expect(statusesOf(batch)).toEqual(['CREATED', 'REJECTED', 'REJECTED']);
    expect(codesOf(batch)).toEqual([null, 'DUPLICATE_IN_BATCH', 'DUPLICATE_IN_BATCH']);
  });

  it('holds one position of an instrument in a one-way account, whatever the side', async () => {
    const { symbol } = await openOne(server, openItem());
    const batch = await open(server, [openItem({ symbol, side: 'SHORT' })], PER_ITEM);
    expect(codesOf(batch)).toEqual(['POSITION_EXISTS']);
  });

  it('holds one LONG and one SHORT of an instrument in a hedge account', async () => {
    const account = await makeAccount('hedged', { hedgeMode: true });
    const symbol = makeSymbol();
    const items = [openItem({ symbol }), openItem({ symbol, side: 'SHORT' })];
    expect(statusesOf(await open(server, items, { account }))).toEqual(['CREATED', 'CREATED']);
    const again = await open(server, items, { account, ...PER_ITEM });
    expect(codesOf(again)).toEqual(['POSITION_EXISTS', 'POSITION_EXISTS']);
  });

  it('lets two requests open one instrument only once', async () => {
    const symbol = makeSymbol();
    const holder = server.connect();
    await holder`begin`;
    await holder`select pg_advisory_xact_lock(hashtextextended(${`main:bybit:${symbol}`}, 1))`;
    const both = [
      open(server, [openItem({ symbol })], PER_ITEM),
      open(server, [openItem({ symbol, side: 'SHORT' })], PER_ITEM),
    ];
    await server.untilBlocked(2);
    await holder`rollback`;
    const statuses = (await Promise.all(both)).map((batch) => statusesOf(batch)[0]);
    expect(statuses.sort()).toEqual(['CONFLICT', 'CREATED']);
  });

  it('takes a clientId that another request commits meanwhile for a conflict', async () => {
    const holder = server.connect();
    await holder`begin`;
    await holder`
      insert into positions (account_id, id, exchange, symbol, side, status, quantity, entry_price,
        opened_at, updated_at, client_id, item_hash)
      values ('main', gen_random_uuid(), 'okx', 'ELSEUSDT', 'LONG', 'OPEN', 1, 1, now(), now(),
        'meanwhile', '\\x00')`;
    const waiting = open(server, [openItem({ clientId: 'meanwhile' })], PER_ITEM);
    await server.untilBlocked(1);
    await holder`commit`;
    expect(codesOf(await waiting)).toEqual(['CLIENT_ID_REUSED']);
  });

  it.each([
    ['HALTED', 'TRADING_HALTED'],
    ['REDUCING', 'TRADING_REDUCING'],
  ])('opens nothing while the account is %s', async (state, code) => {
    const account = await makeAccount(`is-${state.toLowerCase()}`, { state });
    const batch = await open(server, [openItem()], { account, ...PER_ITEM });
    expect(statusesOf(batch)).toEqual(['REJECTED']);
    expect(codesOf(batch)).toEqual([code]);
  });

  it('runs again and refuses when trading is halted between its look and its commit', async () => {
    const account = await makeAccount('halted-late');
    const item = openItem();
    const holder = server.connect();
    await holder`begin`;
    const key = `${account}:bybit:${item.symbol}`;
    await holder`select pg_advisory_xact_lock(hashtextextended(${key}, 1))`;
    server.statements();
    const waiting = open(server, [item], { account, ...PER_ITEM });
    await server.untilBlocked(1);
    await setTradingState(account, 'HALTED');
    await holder`rollback`;
    expect(codesOf(await waiting)).toEqual(['TRADING_HALTED']);
    const commands = server.statements().filter((name) => name.startsWith('transaction.'));
    expect(commands).toEqual([
      'transaction.begin',
      // Sent with the last statement, which failed: the server made a rollback of it.
      'transaction.commit',
      'transaction.begin',
      'transaction.commit',
    ]);
    const [{ count } = {}] = await server.sql`
      select count(*)::int as count from positions where account_id = ${account}`;
    expect(count).toBe(0);
  });

  it.each([
    ['LONG', { stopLossPrice: '100' }, 'stopLossPrice'],
    ['LONG', { takeProfitPrice: '100' }, 'takeProfitPrice'],
    ['SHORT', { stopLossPrice: '99.9' }, 'stopLossPrice'],
    ['SHORT', { takeProfitPrice: '100.1' }, 'takeProfitPrice'],
  ])('refuses a %s stop on the wrong side of the entry: %o', async (side, stops, field) => {
    const batch = await open(server, [openItem({ side, ...stops })], PER_ITEM);
    expect(codesOf(batch)).toEqual(['STOP_ON_WRONG_SIDE']);
    expect(batch.results[0]?.error?.path).toEqual(['input', 'items', '0', field]);
  });

  it('judges stops by the mark where there is one', async () => {
    const [above, below] = [openItem({ stopLossPrice: '110' }), openItem({ stopLossPrice: '90' })];
    await server.sql`
      insert into marks values ('main', 'bybit', ${String(above.symbol)}, 120, now()),
        ('main', 'bybit', ${String(below.symbol)}, 80, now())`;
    const batch = await open(server, [above, below], PER_ITEM);
    expect(codesOf(batch)).toEqual([null, 'STOP_ON_WRONG_SIDE']);
    expect(batch.results[0]?.position).toMatchObject({ markPrice: '120', unrealizedPnl: '40' });
  });
});
