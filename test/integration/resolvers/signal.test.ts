import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeId } from '../../../datasources/id.ts';
import { type Batch, inputOf, refusalOf, statusesOf } from '../../support/documents.ts';
import { type Item, makeSymbol, many } from '../../support/make.ts';
import { startTestServer, type TestServer } from '../../support/server.ts';
import {
  CREATE_SIGNALS,
  createSignal,
  createSignals,
  PROCESS_SIGNALS,
  type SignalResult,
  signalItem,
} from '../../support/signal.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.stop());

/** As if the signal had been created so many seconds earlier. */
async function age(id: string, seconds: number): Promise<void> {
  await server.sql`
    update signals set created_at = created_at - ${`${seconds} s`}::interval,
      expires_at = expires_at - ${`${seconds} s`}::interval
    where id = ${decodeId(id)?.id ?? ''}`;
}

async function changesOf(id: string) {
  const document = `query ($where: ChangeWhere) {
    changes(account: "main", where: $where) { nodes { entity operation ids before after actor } }
  }`;
  type Data = { readonly changes: { readonly nodes: readonly object[] } };
  return (await server.data<Data>(document, { where: { ids: [id] } })).changes.nodes;
}

function process(ids: readonly string[], key = server.key) {
  type Data = { readonly processSignals: Batch<SignalResult> };
  const input = { account: 'main', ids };
  return server.request<Data>(PROCESS_SIGNALS, { input }, { key });
}

async function itemsOf(ids: readonly string[]) {
  const { extensions } = refusalOf(await process(ids));
  expect(extensions.code).toBe('BATCH_REJECTED');
  return extensions.items;
}

describe('createSignals', () => {
  it('stores what was given to the last digit', async () => {
    const item = signalItem({
      strength: 0,
      confidence: 1,
      suggestedPrice: '0.000000000000000001',
      suggestedStopLoss: '99999999999999999999.999999999999999999',
      suggestedTakeProfit: '2.50',
      suggestedQuantity: '3',
      metadata: { reason: 'crossing' },
      expiresAt: new Date(Date.now() + 60_000).toISOString().replace('Z', '123Z'),
    });
    const { results } = await createSignals(server, [item]);
    expect(results).toMatchObject([
      {
        index: 0,
        status: 'CREATED',
        error: null,
        signal: { ...item, suggestedTakeProfit: '2.5', status: 'ACTIVE', processedAt: null },
      },
    ]);
    const id = results[0]?.signal?.id ?? '';
    const document =
      'query ($id: ID!) { node(id: $id) { id ... on Signal { strength metadata } } }';
    expect(await server.data(document, { id })).toEqual({
      node: { id, strength: 0, metadata: { reason: 'crossing' } },
    });
    expect(await changesOf(id)).toMatchObject([
      { entity: 'signal', operation: 'INSERT', ids: [id], before: null },
    ]);
  });

  it('lets a signal stand for an hour unless it says otherwise', async () => {
    const { createdAt, expiresAt } = await createSignal(server);
    expect(Date.parse(expiresAt) - Date.parse(createdAt)).toBe(3_600_000);
  });

  it('answers a repeat with the earlier signal, whatever else differs', async () => {
    const symbol = makeSymbol();
    const first = await createSignal(server, { symbol });
    const batch = await createSignals(server, [
      signalItem({ symbol, strength: 0.1, suggestedPrice: '5' }),
    ]);
    expect(statusesOf(batch)).toEqual(['REPLAYED']);
    expect(batch.results[0]?.signal).toEqual(first);
  });

  it.each<Item>([{ type: 'SHORT' }, { strategy: 'other' }, { exchange: 'okx' }, { symbol: 'X' }])(
    'takes one with %o for another signal',
    async (changes) => {
      const symbol = makeSymbol();
      await createSignal(server, { symbol });
      const batch = await createSignals(server, [signalItem({ symbol, ...changes })]);
      expect(statusesOf(batch)).toEqual(['CREATED']);
    },
  );

  it('stores a repeat after the window', async () => {
    const symbol = makeSymbol();
    const { id } = await createSignal(server, { symbol });
    await age(id, 299);
    expect(statusesOf(await createSignals(server, [signalItem({ symbol })]))).toEqual(['REPLAYED']);
    await age(id, 1);
    expect(statusesOf(await createSignals(server, [signalItem({ symbol })]))).toEqual(['CREATED']);
  });

  it('takes the window of the item that repeats', async () => {
    const symbol = makeSymbol();
    const { id } = await createSignal(server, { symbol });
    await age(id, 100);
    const repeat = (dedupeSeconds: number) =>
      createSignals(server, [signalItem({ symbol, dedupeSeconds })], { mode: 'VALIDATE_ONLY' });
    expect(statusesOf(await repeat(86_400))).toEqual(['REPLAYED']);
    expect(statusesOf(await repeat(99))).toEqual(['CREATED']);
    expect(statusesOf(await repeat(0))).toEqual(['CREATED']);
  });

  it('still answers a repeat when the signal was processed meanwhile', async () => {
    const symbol = makeSymbol();
    const { id } = await createSignal(server, { symbol });
    await process([id]);
    const { results } = await createSignals(server, [signalItem({ symbol })]);
    expect(results).toMatchObject([{ status: 'REPLAYED', signal: { id, status: 'PROCESSED' } }]);
  });

  it('stores a repeat of a signal whose time is over, marked as expired or not', async () => {
    const symbol = makeSymbol();
    const expiresAt = new Date(Date.now() + 10_000).toISOString();
    const { id } = await createSignal(server, { symbol, expiresAt });
    await age(id, 10);
    const repeat = () => createSignals(server, [signalItem({ symbol })], { mode: 'VALIDATE_ONLY' });
    expect(statusesOf(await repeat())).toEqual(['CREATED']);
    await server.sql`update signals set status = 'EXPIRED' where id = ${decodeId(id)?.id ?? ''}`;
    expect(statusesOf(await repeat())).toEqual(['CREATED']);
  });

  it('stores what stands in one batch twice once', async () => {
    const symbol = makeSymbol();
    const item = signalItem({ symbol });
    const batch = await createSignals(server, [item, item, { ...item, dedupeSeconds: 0 }]);
    expect(statusesOf(batch)).toEqual(['CREATED', 'REPLAYED', 'CREATED']);
    expect(batch.results[1]?.signal).toEqual(batch.results[0]?.signal);
    expect(batch.counts).toMatchObject({ created: 2, replayed: 1 });
  });

  it('stores one of those that arrive at the same time', async () => {
    const item = signalItem();
    const batches = await Promise.all(
      many(8, () => item).map((one) => createSignals(server, [one])),
    );
    expect(batches.flatMap(statusesOf).toSorted()).toEqual([
      'CREATED',
      ...new Array<string>(7).fill('REPLAYED'),
    ]);
  });

  it.each<[Item, string]>([
    [{ exchange: 'Bybit' }, 'exchange'],
    [{ symbol: 'btc' }, 'symbol'],
    [{ strength: 1.001 }, 'strength'],
    [{ confidence: -0.001 }, 'confidence'],
    [{ strategy: '' }, 'strategy'],
    [{ suggestedPrice: '0' }, 'suggestedPrice'],
    [{ suggestedStopLoss: '-1' }, 'suggestedStopLoss'],
    [{ suggestedTakeProfit: '0' }, 'suggestedTakeProfit'],
    [{ suggestedQuantity: '-0.1' }, 'suggestedQuantity'],
    [{ expiresAt: '2026-01-01T00:00:00Z' }, 'expiresAt'],
    [{ expiresAt: '2999-01-01T00:00:00Z' }, 'expiresAt'],
    [{ dedupeSeconds: -1 }, 'dedupeSeconds'],
    [{ dedupeSeconds: 86_401 }, 'dedupeSeconds'],
    [{ metadata: 'x'.repeat(16_384) }, 'metadata'],
  ])('rejects an item with %o and stores the others', async (changes, name) => {
    const items = [signalItem(changes), signalItem()];
    const batch = await createSignals(server, items, { mode: 'PER_ITEM' });
    expect(statusesOf(batch)).toEqual(['REJECTED', 'CREATED']);
    expect(batch.results[0]?.error).toMatchObject({
      code: 'BAD_INPUT',
      path: ['input', 'items', '0', name],
    });
  });

  it('stores nothing of an ATOMIC batch with a refused item', async () => {
    const good = signalItem();
    const answer = await server.request(
      CREATE_SIGNALS,
      inputOf([good, signalItem({ strength: 2 })]),
    );
    expect(refusalOf(answer).extensions).toMatchObject({
      code: 'BATCH_REJECTED',
      items: [{ status: 'NOT_ATTEMPTED' }, { status: 'REJECTED', code: 'BAD_INPUT' }],
    });
    expect(statusesOf(await createSignals(server, [good]))).toEqual(['CREATED']);
  });

  it('stores nothing when it only validates', async () => {
    const item = signalItem();
    const validate = () => createSignals(server, [item], { mode: 'VALIDATE_ONLY' });
    expect(statusesOf(await validate())).toEqual(['CREATED']);
    expect(statusesOf(await validate())).toEqual(['CREATED']);
  });

  it('takes three statements for one signal and for a thousand', async () => {
    for (const count of [1, 1000]) {
      const items = many(count, () => signalItem());
      server.statements();
      await createSignals(server, items);
      expect(server.statements()).toEqual([
        'transaction.begin',
        'signals.lockKeys',
        'signals.findStanding',
        'signals.insertMany',
        'changes.append',
        'transaction.commit',
      ]);
    }
  });

  it('is refused for an account that is not there', async () => {
    const input = inputOf([signalItem()], { account: 'nowhere' });
    const { extensions } = refusalOf(await server.request(CREATE_SIGNALS, input));
    expect(extensions).toMatchObject({ code: 'NOT_FOUND', path: ['account'] });
  });

  it('is not for those who only read', async () => {
    const { token } = await server.issueKey('ANALYST', ['main']);
    const answer = await server.request(CREATE_SIGNALS, inputOf([signalItem()]), { key: token });
    expect(refusalOf(answer).extensions.code).toBe('FORBIDDEN');
  });
});

describe('processSignals', () => {
  it('marks signals as processed, in the order of the ids, and logs each', async () => {
    const [one, two] = [await createSignal(server), await createSignal(server)];
    const { data } = await process([two.id, one.id]);
    expect(data?.processSignals.counts).toMatchObject({ updated: 2 });
    expect(data?.processSignals.results).toMatchObject([
      { index: 0, status: 'UPDATED', signal: { id: two.id, status: 'PROCESSED' } },
      { index: 1, status: 'UPDATED', signal: { id: one.id, status: 'PROCESSED' } },
    ]);
    const processedAt = data?.processSignals.results[1]?.signal?.processedAt;
    expect((await changesOf(one.id))[1]).toMatchObject({
      entity: 'signal',
      operation: 'UPDATE',
      before: { status: 'ACTIVE', processedAt: null },
      after: { status: 'PROCESSED', processedAt },
    });
  });

  it('lets one of two who process a signal succeed', async () => {
    const { id } = await createSignal(server);
    const answers = await Promise.all([process([id]), process([id]), process([id])]);
    const refused = answers.filter(({ errors }) => errors.length > 0);
    expect(refused).toHaveLength(2);
    expect(refusalOf(refused[0] ?? answers[0]).extensions.items).toMatchObject([
      { status: 'CONFLICT', code: 'SIGNAL_NOT_ACTIVE' },
    ]);
  });

  it('refuses a signal whose time is over before maintenance has marked it', async () => {
    const { id } = await createSignal(server);
    await age(id, 3600);
    expect(await itemsOf([id])).toMatchObject([{ status: 'CONFLICT', code: 'SIGNAL_NOT_ACTIVE' }]);
  });

  it('processes none when one is refused, and says why', async () => {
    const { id } = await createSignal(server);
    const missing = 'signal.main.01900000-0000-7000-8000-000000000000';
    const position = 'position.main.01900000-0000-7000-8000-000000000000';
    expect(await itemsOf([id, missing, position, id])).toMatchObject([
      { status: 'NOT_ATTEMPTED' },
      { status: 'NOT_FOUND', path: ['input', 'ids', '1'] },
      { status: 'REJECTED', code: 'BAD_INPUT', path: ['input', 'ids', '2'] },
      { status: 'REJECTED', code: 'DUPLICATE_IN_BATCH', path: ['input', 'ids', '3'] },
    ]);
    expect((await process([id])).errors).toEqual([]);
  });

  it('takes a thousand ids and not one more', async () => {
    const batch = await createSignals(
      server,
      many(1000, () => signalItem()),
    );
    const ids = batch.results.map(({ signal }) => signal?.id ?? '');
    const { extensions } = refusalOf(await process([...ids, ids[0] ?? '']));
    expect(extensions).toMatchObject({ code: 'BATCH_TOO_LARGE', path: ['input', 'ids'] });
    server.statements();
    expect((await process(ids)).data?.processSignals.counts).toMatchObject({ updated: 1000 });
    expect(server.statements()).toEqual([
      'transaction.begin',
      'signals.lock',
      'signals.processMany',
      'changes.append',
      'transaction.commit',
    ]);
  });

  it('is not for those who only read', async () => {
    const { id } = await createSignal(server);
    const { token } = await server.issueKey('VIEWER', ['main']);
    expect(refusalOf(await process([id], token)).extensions.code).toBe('FORBIDDEN');
  });
});

describe('signals', () => {
  const DOCUMENT = `query ($where: SignalWhere, $first: Int, $after: String) {
    signals(account: "main", where: $where, first: $first, after: $after) {
      totalCount nodes { id } pageInfo { hasNextPage endCursor }
    }
  }`;
  interface Data {
    readonly signals: {
      readonly totalCount: number;
      readonly nodes: readonly { readonly id: string }[];
      readonly pageInfo: { readonly hasNextPage: boolean; readonly endCursor: string | null };
    };
  }

  async function idsOf(where: object): Promise<readonly string[]> {
    const { signals } = await server.data<Data>(DOCUMENT, { where });
    return signals.nodes.map(({ id }) => id);
  }

  it('finds by exchange, symbol, type, status, strategy and time', async () => {
    const symbol = makeSymbol();
    const long = await createSignal(server, { symbol, strategy: 'a' });
    const short = await createSignal(server, { symbol, type: 'SHORT', exchange: 'okx' });
    await process([short.id]);
    const symbols = [symbol];
    expect((await idsOf({ symbols })).toSorted()).toEqual([long.id, short.id].toSorted());
    expect(await idsOf({ symbols, type: ['LONG', 'NEUTRAL'] })).toEqual([long.id]);
    expect(await idsOf({ symbols, exchange: 'okx' })).toEqual([short.id]);
    expect(await idsOf({ symbols, status: ['PROCESSED'] })).toEqual([short.id]);
    expect(await idsOf({ symbols, strategy: 'a' })).toEqual([long.id]);
    const at = short.createdAt;
    expect(await idsOf({ symbols, createdAt: { from: at } })).toEqual([short.id]);
    expect(await idsOf({ symbols, createdAt: { to: at } })).toEqual([long.id]);
  });

  it('pages without losing or repeating a row', async () => {
    const symbol = makeSymbol();
    await createSignals(
      server,
      many(5, () => signalItem({ symbol, dedupeSeconds: 0 })),
    );
    const where = { symbols: [symbol] };
    const ids: string[] = [];
    let after: string | null = null;
    do {
      const { signals }: Data = await server.data<Data>(DOCUMENT, { where, first: 2, after });
      expect(signals.totalCount).toBe(5);
      ids.push(...signals.nodes.map(({ id }) => id));
      after = signals.pageInfo.hasNextPage ? signals.pageInfo.endCursor : null;
    } while (after !== null);
    expect(new Set(ids).size).toBe(5);
    expect(ids).toEqual(ids.toSorted().reverse());
  });

  it('is for the accounts of a key alone', async () => {
    const { token } = await server.issueKey('VIEWER', ['other']);
    const { data, errors } = await server.request<Data>(DOCUMENT, {}, { key: token });
    expect(data).toEqual({ signals: null });
    expect(errors[0]?.extensions.code).toBe('FORBIDDEN');
  });
});
