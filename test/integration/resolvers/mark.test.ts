import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { decodeId } from '../../../datasources/id.ts';
import { open, refusalOf } from '../../support/documents.ts';
import { type SecondNode, startSecondNode } from '../../support/second-node.ts';
import { startTestServer, type TestServer } from '../../support/server.ts';

const MARK = `mutation ($input: MarkPricesInput!) {
  markPrices(input: $input) {
    updated
    triggered { kind price position { id symbol side version markPrice stopTriggeredAt stopTriggeredKind } }
  }
}`;
const READ = `query ($id: ID!) {
  node(id: $id) { ... on Position {
    version markPrice unrealizedPnl stopTriggeredAt stopTriggeredKind stopLossPrice
  } }
}`;
const CHANGES = `{ changes(account: "main", first: 500) {
  nodes { seq entity operation ids count before after }
} }`;

let server: TestServer;
let second: SecondNode;

beforeAll(async () => {
  server = await startTestServer();
  second = await startSecondNode(server);
});

afterAll(async () => {
  await second.stop();
  await server.stop();
});

beforeEach(async () => {
  await server.sql`truncate positions, trades, marks, changes`;
  await server.sql`update account_heads set seq = 0, hash = '', trading_state = 'ACTIVE'`;
});

const BTC = { exchange: 'bybit', symbol: 'BTCUSDT' };
const AT = '2026-01-02T03:04:05.123456Z';

interface Trigger {
  readonly kind: string;
  readonly price: string;
  readonly position: Readonly<Record<string, unknown>>;
}

interface Marked {
  readonly updated: number;
  readonly triggered: readonly Trigger[];
}

interface ChangeNode {
  readonly entity: string;
  readonly operation: string;
  readonly ids: readonly string[];
  // biome-ignore lint/suspicious/noExplicitAny: its shape is what the tests are about.
  readonly before: any;
  // biome-ignore lint/suspicious/noExplicitAny: its shape is what the tests are about.
  readonly after: any;
}

async function openAll(items: readonly object[]): Promise<readonly (string | undefined)[]> {
  const given = items.map((item) => ({ ...BTC, side: 'LONG', quantity: '2', ...item }));
  const { results } = await open(server, given);
  return results.map((result) => result.position?.id);
}

function inputOf(items: readonly object[]) {
  return { input: { account: 'main', items: items.map((item) => ({ ...BTC, ...item })) } };
}

async function mark(
  items: readonly object[],
  request: TestServer['request'] = server.request,
): Promise<Marked> {
  const { data, text } = await request<{ markPrices: Marked }>(MARK, inputOf(items));
  if (data === null) throw new Error(text);
  return data.markPrices;
}

async function readPosition(id: string | undefined) {
  const { node } = await server.data<{ node: Record<string, unknown> }>(READ, { id });
  return node;
}

async function readChanges(): Promise<ChangeNode[]> {
  type Data = { readonly changes: { readonly nodes: ChangeNode[] } };
  return (await server.data<Data>(CHANGES)).changes.nodes;
}

async function extensionsOf(items: readonly object[], key = server.key) {
  const given = items.map((item) => ({ price: '1', ...item }));
  return refusalOf(await server.request(MARK, inputOf(given), { key })).extensions;
}

describe('markPrices', () => {
  it('moves marks and unrealized profits to the last digit and no version', async () => {
    const [id] = await openAll([{ entryPrice: '100.000000000000000001' }]);
    expect(await mark([{ price: '100.000000000000000003' }])).toEqual({
      updated: 1,
      triggered: [],
    });
    expect(await readPosition(id)).toMatchObject({
      markPrice: '100.000000000000000003',
      unrealizedPnl: '0.000000000000000004',
      version: 1,
    });
  });

  it('ignores what is not newer, and counts the rest', async () => {
    const eth = { symbol: 'ETHUSDT' };
    await mark([
      { price: '10', at: AT },
      { ...eth, price: '20', at: AT },
    ]);
    const { updated } = await mark([
      { price: '11', at: AT },
      { ...eth, price: '21', at: '2026-01-02T03:04:05.123457Z' },
    ]);
    expect(updated).toBe(1);
    const rows =
      await server.sql`select symbol, trim_scale(price) as price from marks order by symbol`;
    expect([...rows]).toEqual([
      { symbol: 'BTCUSDT', price: '10' },
      { symbol: 'ETHUSDT', price: '21' },
    ]);
  });

  it('judges no stop by a mark that it ignored', async () => {
    await mark([{ price: '100', at: AT }]);
    const [id] = await openAll([{ entryPrice: '100', stopLossPrice: '90' }]);
    const marked = await mark([{ price: '80', at: '2026-01-02T03:04:05Z' }]);
    expect(marked).toEqual({ updated: 0, triggered: [] });
    expect((await readPosition(id)).stopTriggeredAt).toBeNull();
  });

  it('logs all marks of a call as one change with exact prices', async () => {
    await mark([
      { symbol: 'ETHUSDT', price: '2500.5', at: AT },
      { price: '0.000000000000000001', at: AT },
    ]);
    expect(await readChanges()).toEqual([
      {
        seq: '1',
        entity: 'mark',
        operation: 'MARK',
        ids: ['bybit BTCUSDT', 'bybit ETHUSDT'],
        count: 2,
        before: null,
        after: [
          { ...BTC, price: '0.000000000000000001', at: AT },
          { exchange: 'bybit', symbol: 'ETHUSDT', price: '2500.5', at: AT },
        ],
      },
    ]);
  });

  it('logs nothing when nothing was newer', async () => {
    await mark([{ price: '10', at: AT }]);
    await mark([{ price: '10', at: AT }]);
    expect(await readChanges()).toHaveLength(1);
  });

  it.each([
    ['LONG', { stopLossPrice: '90' }, '90.000000000000000001', '90', 'STOP_LOSS'],
    ['LONG', { takeProfitPrice: '110' }, '109.999999999999999999', '110', 'TAKE_PROFIT'],
    ['SHORT', { stopLossPrice: '110' }, '109.999999999999999999', '110', 'STOP_LOSS'],
    ['SHORT', { takeProfitPrice: '90' }, '90.000000000000000001', '90', 'TAKE_PROFIT'],
  ])('a %s with %o is crossed not at %s but at %s', async (side, stops, near, at, kind) => {
    const [id] = await openAll([{ side, entryPrice: '100', ...stops }]);
    expect((await mark([{ price: near }])).triggered).toEqual([]);
    const later = new Date(Date.now() + 1000).toISOString();
    const { triggered } = await mark([{ price: at, at: later }]);
    const stopTriggeredAt = later.replace('Z', '000Z');
    const stopTriggeredKind = kind;
    expect(triggered).toEqual([
      {
        kind,
        price: at,
        position: {
          id,
          symbol: 'BTCUSDT',
          side,
          version: 2,
          markPrice: at,
          stopTriggeredAt,
          stopTriggeredKind,
        },
      },
    ]);
  });

  it('reports a crossed stop once and keeps it on its position', async () => {
    const [id] = await openAll([{ entryPrice: '100', stopLossPrice: '90' }]);
    const first = new Date(Date.now() + 1000).toISOString();
    const second = new Date(Date.now() + 2000).toISOString();
    expect((await mark([{ price: '90', at: first }])).triggered).toHaveLength(1);
    expect((await mark([{ price: '80', at: second }])).triggered).toEqual([]);
    expect(await readPosition(id)).toMatchObject({
      version: 2,
      stopTriggeredAt: first.replace('Z', '000Z'),
    });
  });

  it('logs the whole row before and after the trigger, after the marks', async () => {
    const [id] = await openAll([{ entryPrice: '100', stopLossPrice: '90' }]);
    await mark([{ price: '90' }]);
    const [opened, , marked, triggered] = await readChanges();
    if (!opened || !marked || !triggered) throw new Error('four changes were expected');
    expect([opened.entity, marked.entity]).toEqual(['position', 'mark']);
    expect(triggered).toMatchObject({
      entity: 'position',
      operation: 'UPDATE',
      ids: [id],
      before: opened.after,
    });
    expect(triggered.after).toMatchObject({ version: 2, stopTriggeredKind: 'STOP_LOSS' });
    const { updatedAt: _at, ...before } = triggered.before;
    const { updatedAt: _updatedAt, ...after } = triggered.after;
    expect(after).toEqual({
      ...before,
      version: 2,
      stopTriggeredKind: 'STOP_LOSS',
      stopTriggeredAt: marked.after[0].at,
    });
  });

  it('leaves closed positions and those of other instruments alone', async () => {
    const [, closed] = await openAll([
      { symbol: 'ETHUSDT', entryPrice: '100', stopLossPrice: '90' },
      { entryPrice: '100', stopLossPrice: '90' },
    ]);
    await server.data(
      `mutation ($id: ID!) { closePositions(
        input: { account: "main", items: [{ id: $id, price: "95" }] }
      ) {
        counts { updated }
      } }`,
      { id: closed },
    );
    expect((await mark([{ price: '1' }])).triggered).toEqual([]);
  });

  it('triggers each stop once when two nodes mark at the same time', async () => {
    const symbols = Array.from({ length: 40 }, (_, index) => `S${index}USDT`);
    await openAll(symbols.map((symbol) => ({ symbol, entryPrice: '100', stopLossPrice: '90' })));
    const forwards = symbols.map((symbol) => ({ symbol, price: '80' }));
    const later = new Date(Date.now() + 1000).toISOString();
    const backwards = forwards.toReversed().map((item) => ({ ...item, at: later }));
    const [one, two] = await Promise.all([mark(forwards), mark(backwards, second.request)]);
    expect(one.triggered.length + two.triggered.length).toBe(40);
    const updates = (await readChanges()).filter(
      ({ entity, operation }) => entity === 'position' && operation === 'UPDATE',
    );
    expect(updates).toHaveLength(40);
    const ids = [...one.triggered, ...two.triggered].map((trigger) => trigger.position.id);
    expect(new Set(ids).size).toBe(40);
  });

  it.each([
    ['50', 0],
    ['95', 1],
  ])('decides by a stop that is moved to %s meanwhile', async (stopLossPrice, count) => {
    const [id] = await openAll([{ entryPrice: '100', stopLossPrice: '90' }]);
    const rowId = decodeId(id ?? '')?.id ?? '';
    const session = server.connect();
    await session.unsafe('begin');
    await session`
      update positions set stop_loss_price = ${stopLossPrice}, version = version + 1
      where id = ${rowId}`;
    const marking = mark([{ price: '85' }]);
    await server.untilBlocked(1);
    await session.unsafe('commit');
    expect((await marking).triggered).toHaveLength(count);
    expect(await readPosition(id)).toMatchObject({ stopLossPrice, version: 2 + count });
  });

  it('leaves a position alone that is closed meanwhile', async () => {
    const [id] = await openAll([{ entryPrice: '100', stopLossPrice: '90' }]);
    const session = server.connect();
    await session.unsafe('begin');
    await session`
      update positions set status = 'CLOSED', quantity = 0, closed_at = now()
      where id = ${decodeId(id ?? '')?.id ?? ''}`;
    const marking = mark([{ price: '85' }]);
    await server.untilBlocked(1);
    await session.unsafe('commit');
    expect((await marking).triggered).toEqual([]);
    expect((await readPosition(id))?.stopTriggeredAt).toBeNull();
  });

  it('arms a stop again when that stop is changed, and only then', async () => {
    const answerOf = (stopTriggeredAt: string | null, stopTriggeredKind: string | null) => ({
      updatePositions: { results: [{ position: { stopTriggeredAt, stopTriggeredKind } }] },
    });
    const update = `mutation ($item: UpdatePositionItem!) {
      updatePositions(input: { account: "main", items: [$item] }) {
        results { position { stopTriggeredAt stopTriggeredKind } }
      }
    }`;
    const [id] = await openAll([{ entryPrice: '100', stopLossPrice: '90' }]);
    await mark([{ price: '85', at: AT }]);
    const read = (item: object) => server.data(update, { item: { id, ...item } });
    expect(await read({ takeProfitPrice: '120' })).toEqual(answerOf(AT, 'STOP_LOSS'));
    expect(await read({ stopLossPrice: '80' })).toEqual(answerOf(null, null));
    expect((await mark([{ price: '79' }])).triggered).toHaveLength(1);
  });

  it('shows the new marks to later fields of the same operation', async () => {
    const [id] = await openAll([{ entryPrice: '100' }]);
    const update = (name: string, leverage: string) =>
      `${name}: updatePositions(input: { account: "main", items: [{ id: $id, leverage: "${leverage}" }] }) {
        results { position { markPrice } }
      }`;
    const answer = await server.data(
      `mutation ($id: ID!, $mark: MarkPricesInput!) {
        ${update('before', '2')} markPrices(input: $mark) { updated } ${update('after', '3')}
      }`,
      { id, mark: { account: 'main', items: [{ ...BTC, price: '123' }] } },
    );
    expect(answer).toEqual({
      before: { results: [{ position: { markPrice: null } }] },
      markPrices: { updated: 1 },
      after: { results: [{ position: { markPrice: '123' } }] },
    });
  });

  it('takes the same few statements for one position and for a thousand', async () => {
    await server.sql`
      insert into positions (account_id, id, exchange, symbol, side, status, quantity, entry_price,
        stop_loss_price, opened_at, updated_at)
      select 'main', gen_random_uuid(), 'bybit', 'S' || n, 'LONG', 'OPEN', 1, 100, 90, now(), now()
      from generate_series(1, 1000) as n`;
    const items = Array.from({ length: 1000 }, (_, n) => ({ symbol: `S${n + 1}`, price: '80' }));
    server.statements();
    expect((await mark(items)).triggered).toHaveLength(1000);
    expect(server.statements().toSorted()).toEqual([
      'changes.append',
      // Of the answer, which asks for the marks of all positions.
      'marks.find',
      'marks.triggerStops',
      'marks.upsertMany',
      'transaction.begin',
      'transaction.commit',
    ]);
  });

  it('reads only the rows it changes when ten of ten thousand stops are crossed', async () => {
    await server.sql`
      insert into positions (account_id, id, exchange, symbol, side, status, quantity, entry_price,
        stop_loss_price, opened_at, updated_at)
      select 'main', gen_random_uuid(), 'e' || n / 50, 'S' || n % 50, 'LONG', 'OPEN', 1, 100,
        case when n < 10 then 90 end, now(), now()
      from generate_series(0, 9999) as n`;
    await server.sql`analyze positions`;
    const rowsOf = () => {
      const { statements } = server.tradewind.database.statistics.snapshot();
      return statements.find(({ name }) => name === 'marks.triggerStops')?.rows ?? 0;
    };
    const before = rowsOf();
    const items = Array.from({ length: 50 }, (_, n) => ({
      exchange: 'e0',
      symbol: `S${n}`,
      price: '80',
    }));
    expect((await mark(items)).triggered).toHaveLength(10);
    expect(rowsOf() - before).toBe(10);
  });

  it.each([
    [[{ price: '0' }], ['input', 'items', '0', 'price']],
    [
      [{}, { symbol: 'ETHUSDT', price: '-1' }],
      ['input', 'items', '1', 'price'],
    ],
    [[{ exchange: 'Bybit' }], ['input', 'items', '0', 'exchange']],
    [[{ symbol: 'btc' }], ['input', 'items', '0', 'symbol']],
    [[{ at: '2014-12-31T23:59:59Z' }], ['input', 'items', '0', 'at']],
    [[{ at: new Date(Date.now() + 3_000_000).toISOString() }], ['input', 'items', '0', 'at']],
    [
      [{}, {}],
      ['input', 'items', '1'],
    ],
    [[], ['input', 'items']],
  ])('refuses %j', async (items, path) => {
    expect(await extensionsOf(items)).toMatchObject({ code: 'BAD_INPUT', path });
  });

  it('takes a thousand marks and not one more', async () => {
    const items = Array.from({ length: 1001 }, (_, n) => ({ symbol: `S${n}`, price: '1' }));
    expect((await mark(items.slice(1))).updated).toBe(1000);
    expect(await extensionsOf(items)).toMatchObject({ code: 'BATCH_TOO_LARGE' });
  });

  it('is not for those who only read', async () => {
    const { token } = await server.issueKey('ANALYST', ['main']);
    expect(await extensionsOf([{}], token)).toMatchObject({ code: 'FORBIDDEN' });
  });
});
