import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { BALANCES_MAX } from '../../../resolvers/balance.ts';
import { inputOf, refusalOf } from '../../support/documents.ts';
import { type Item, many } from '../../support/make.ts';
import { startTestServer, type TestServer } from '../../support/server.ts';

const FIELDS = 'exchange asset free locked total updatedAt';
const UPSERT = `mutation ($input: UpsertBalancesInput!) {
  upsertBalances(input: $input) { balances { ${FIELDS} } }
}`;
const LIST = `query ($exchange: String) { balances(account: "main", exchange: $exchange) { ${FIELDS} } }`;
const CHANGES = `{ changes(account: "main") { nodes { entity operation ids count before after } } }`;

interface Balance {
  readonly exchange: string;
  readonly asset: string;
  readonly updatedAt: string;
}

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.stop());

beforeEach(async () => {
  await server.sql`truncate balances, changes`;
  await server.sql`update account_heads set seq = 0, hash = ''`;
});

function item(changes: Item = {}): Item {
  return { exchange: 'bybit', asset: 'USDT', free: '100', locked: '0', ...changes };
}

async function upsert(items: readonly Item[]): Promise<readonly Balance[]> {
  type Data = { readonly upsertBalances: { readonly balances: readonly Balance[] } };
  return (await server.data<Data>(UPSERT, inputOf(items))).upsertBalances.balances;
}

async function list(exchange?: string): Promise<readonly Balance[]> {
  const { balances } = await server.data<{ balances: readonly Balance[] }>(LIST, { exchange });
  return balances;
}

async function extensionsOf(items: readonly Item[], key = server.key) {
  return refusalOf(await server.request(UPSERT, inputOf(items), { key })).extensions;
}

describe('upsertBalances', () => {
  it('answers in input order with exact totals', async () => {
    const stored = await upsert([
      item({ free: '0.000000000000000001', locked: '0.000000000000000002' }),
      item({ asset: 'BTC', free: '-1.50', locked: '2' }),
    ]);
    expect(stored).toMatchObject([
      { asset: 'USDT', free: '0.000000000000000001', total: '0.000000000000000003' },
      { asset: 'BTC', free: '-1.5', locked: '2', total: '0.5' },
    ]);
    expect(await list()).toEqual(stored.toReversed());
  });

  it('leaves a balance that is the same as it is, and what is not named', async () => {
    const [usdt] = await upsert([item(), item({ asset: 'BTC' })]);
    const [same] = await upsert([item({ free: '100.0' }), item({ asset: 'ETH' })]);
    expect(same).toEqual(usdt);
    expect((await list()).map(({ asset }) => asset)).toEqual(['BTC', 'ETH', 'USDT']);
    const data = await server.data<{ changes: { nodes: readonly object[] } }>(CHANGES);
    expect(data.changes.nodes[1]).toMatchObject({
      ids: ['bybit ETH'],
      after: [{ asset: 'ETH' }],
    });
  });

  it('logs what a call changed as one change with the rows before and after', async () => {
    const [before] = await upsert([item()]);
    const [after] = await upsert([item({ locked: '25' }), item({ asset: 'BTC' })]);
    const { total: _before, ...usdtBefore } = { total: null, ...before };
    const { total: _after, ...usdtAfter } = { total: null, ...after };
    const data = await server.data<{ changes: { nodes: readonly object[] } }>(CHANGES);
    expect(data.changes.nodes).toMatchObject([
      { entity: 'balance', operation: 'INSERT', ids: ['bybit USDT'], before: [null] },
      {
        entity: 'balance',
        operation: 'UPDATE',
        ids: ['bybit USDT', 'bybit BTC'],
        count: 2,
        before: [usdtBefore, null],
        after: [usdtAfter, { asset: 'BTC' }],
      },
    ]);
  });

  it('logs nothing when nothing changed', async () => {
    await upsert([item()]);
    await upsert([item()]);
    expect(await server.data(CHANGES)).toMatchObject({ changes: { nodes: { length: 1 } } });
  });

  it('keeps every balance when many write the same ones at once, in any order', async () => {
    const items = many(50, (index) => item({ asset: `A${index}` }));
    const calls = many(6, (index) => ({ index })).map(({ index }) => {
      const given = items.map((one) => ({ ...one, free: String(index) }));
      return upsert(Number(index) % 2 === 0 ? given : given.toReversed());
    });
    await Promise.all(calls);
    const free = new Set((await list()).map((row) => (row as unknown as Item).free));
    expect(free.size).toBe(1);
  });

  it.each<[Item, string]>([
    [{ exchange: 'Bybit' }, 'exchange'],
    [{ asset: 'usdt' }, 'asset'],
    [{ locked: '-0.1' }, 'locked'],
  ])('stores nothing when one has %o', async (changes, name) => {
    expect(await extensionsOf([item(), item({ asset: 'BTC', ...changes })])).toMatchObject({
      code: 'BAD_INPUT',
      path: ['input', 'items', '1', name],
    });
    expect(await list()).toEqual([]);
  });

  it('refuses a balance that stands in the batch twice', async () => {
    expect(await extensionsOf([item(), item()])).toMatchObject({ code: 'BAD_INPUT' });
  });

  it('takes a thousand and not one more, in two statements and a count', async () => {
    const items = many(1001, (index) => item({ asset: `A${index}` }));
    expect(await extensionsOf(items)).toMatchObject({ code: 'BATCH_TOO_LARGE' });
    server.statements();
    expect(await upsert(items.slice(1))).toHaveLength(1000);
    expect(server.statements()).toEqual([
      'transaction.begin',
      'balances.lock',
      'balances.upsertMany',
      'balances.count',
      'changes.append',
      'transaction.commit',
    ]);
  });

  it('holds as many as an account may have and not one more', async () => {
    await server.sql`
      insert into balances select 'main', 'bybit', 'B' || n, 1, 0, now()
      from generate_series(2, ${BALANCES_MAX}::int) as n`;
    await upsert([item()]);
    expect(await extensionsOf([item({ asset: 'BTC' })])).toMatchObject({ code: 'CONFLICT' });
    expect(await list()).toHaveLength(BALANCES_MAX);
  });

  it('is not for those who only read', async () => {
    const { token } = await server.issueKey('ANALYST', ['main']);
    expect(await extensionsOf([item()], token)).toMatchObject({ code: 'FORBIDDEN' });
  });
});

describe('balances', () => {
  it('are those of one exchange when it is named', async () => {
    await upsert([item(), item({ exchange: 'okx' })]);
    expect(await list('okx')).toMatchObject([{ exchange: 'okx' }]);
    expect(await list('other')).toEqual([]);
  });
});
