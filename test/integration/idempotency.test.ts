import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Batch, inputOf, OPEN, type PositionResult, refusalOf } from '../support/documents.ts';
import { eventually } from '../support/eventually.ts';
import { type Item, many, openItem } from '../support/make.ts';
import { startSecondNode } from '../support/second-node.ts';
import { type RequestOptions, startTestServer, type TestServer } from '../support/server.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.stop());

interface Opened {
  readonly openPositions: Batch<PositionResult>;
}

let keys = 0;

function makeKey(): string {
  keys += 1;
  return `key-${keys}`;
}

function send(items: readonly Item[], key: string, options: RequestOptions = {}) {
  return server.request<Opened>(OPEN, inputOf(items), {
    headers: { 'idempotency-key': key },
    ...options,
  });
}

async function countOf(items: readonly Item[]): Promise<number> {
  const symbols = `{${items.map((item) => item.symbol).join(',')}}`;
  const rows = await server.sql`select id from positions where symbol = any(${symbols}::text[])`;
  return rows.length;
}

describe('a request with a key', () => {
  it('takes effect once and has the same answer when it is sent again', async () => {
    const items = [openItem(), openItem()];
    const key = makeKey();
    const first = await send(items, key);
    const inventory = await server.inventory();
    const second = await send(items, key);
    expect(first.extensions.replayed).toBeUndefined();
    expect(second.data).toEqual(first.data);
    expect(second.extensions).toEqual({ commit: first.extensions.commit, replayed: true });
    expect(await server.inventory()).toEqual(inventory);
  });

  it('may carry it in the extensions of the request', async () => {
    const items = [openItem()];
    const extensions = { idempotencyKey: makeKey() };
    const first = await server.request(OPEN, inputOf(items), { extensions });
    const again = await server.request(OPEN, inputOf(items), { extensions });
    expect(again.data).toEqual(first.data);
    expect(again.extensions.replayed).toBe(true);
    // Both places mean the same key.
    expect((await send(items, extensions.idempotencyKey)).extensions.replayed).toBe(true);
  });

  it('takes the key of the header before that of the extensions', async () => {
    const key = makeKey();
    await send([openItem()], key, {
      headers: { 'idempotency-key': key },
      extensions: { idempotencyKey: makeKey() },
    });
    const rows = await server.sql`select key from idempotency_keys where key = ${key}`;
    expect(rows).toHaveLength(1);
  });

  it('is the same request whatever the order of its variables', async () => {
    const item = openItem({ metadata: { a: 1, b: { c: 2, d: 3 } } });
    const key = makeKey();
    await send([item], key);
    const turned = Object.fromEntries(Object.entries(item).reverse());
    const again = await send([{ ...turned, metadata: { b: { d: 3, c: 2 }, a: 1 } }], key);
    expect(again.extensions.replayed).toBe(true);
  });

  it.each<[string, (items: readonly Item[], key: string) => ReturnType<typeof send>]>([
    ['other variables', ([item], key) => send([{ ...item, quantity: '3' }], key)],
    [
      'another document',
      (items, key) =>
        server.request(OPEN.replace('fees', ''), inputOf(items), {
          headers: { 'idempotency-key': key },
        }),
    ],
    [
      'an operation name',
      (items, key) => send(items, key, { ...keyed(key), operationName: 'openPositions' }),
    ],
  ])('is refused when the key comes with %s', async (_what, resend) => {
    const items = [openItem()];
    const key = makeKey();
    await send(items, key);
    const before = await server.inventory();
    const refusal = refusalOf(await resend(items, key));
    expect(refusal.extensions).toMatchObject({
      code: 'IDEMPOTENCY_KEY_REUSED',
      retryable: false,
      executed: 'NO',
    });
    expect(await server.inventory()).toEqual(before);
  });

  it('shares its key with nobody else', async () => {
    const { token } = await server.issueKey('BOT', ['main']);
    const key = makeKey();
    await send([openItem()], key);
    const other = await send([openItem()], key, { ...keyed(key), key: token });
    expect(other.errors).toEqual([]);
    expect(other.extensions.replayed).toBeUndefined();
  });

  it('takes effect once when it is sent twenty times at once', async () => {
    const items = [openItem(), openItem()];
    const key = makeKey();
    const answers = await Promise.all(Array.from({ length: 20 }, () => send(items, key)));
    const [first] = answers;
    for (const answer of answers) {
      expect(answer.errors).toEqual([]);
      expect(answer.data).toEqual(first?.data);
    }
    expect(answers.filter((answer) => answer.extensions.replayed)).toHaveLength(19);
    expect(await countOf(items)).toBe(2);
  });

  it('waits for the same request on another node and runs when that one was refused', async () => {
    const items = [openItem()];
    const key = makeKey();
    const [actor] = await server.sql`select id from api_keys where name = 'first key'`;
    const other = server.connect();
    await other`begin`;
    await other`select pg_advisory_xact_lock(hashtextextended(${`key:${actor?.id} ${key}`}, 2))`;
    const seen: string[] = [];
    server.statements();
    const waiting = send(items, key);
    await eventually(() => {
      seen.push(...server.statements());
      expect(seen).toContain('idempotencyKeys.find');
    });
    expect(seen).not.toContain('positions.insertMany');
    await other`commit`;
    expect((await waiting).errors).toEqual([]);
    expect(await countOf(items)).toBe(1);
  });

  it('waits for the same request on another node and has its answer', async () => {
    const other = await startSecondNode(server);
    const items = [openItem()];
    const key = makeKey();
    const holder = server.connect();
    await holder`begin`;
    const name = `main:bybit:${items[0]?.symbol}`;
    await holder`select pg_advisory_xact_lock(hashtextextended(${name}, 1))`;
    const first = send(items, key);
    await server.untilBlocked(1);
    const second = other.request<Opened>(OPEN, inputOf(items), keyed(key));
    await eventually(() => {
      const { statements } = other.tradewind.database.statistics.snapshot();
      expect(statements.map(({ name }) => name)).toContain('idempotencyKeys.find');
    });
    await holder`rollback`;
    expect((await second).data).toEqual((await first).data);
    expect((await second).extensions.replayed).toBe(true);
    await other.stop();
  });

  it('says that it is under way when its deadline passes before the other node is done', async () => {
    const items = [openItem()];
    const key = makeKey();
    const [actor] = await server.sql`select id from api_keys where name = 'first key'`;
    const other = server.connect();
    await other`begin`;
    await other`select pg_advisory_xact_lock(hashtextextended(${`key:${actor?.id} ${key}`}, 2))`;
    const headers = { 'idempotency-key': key, 'x-deadline-ms': '500' };
    const refusal = refusalOf(await send(items, key, { headers }));
    await other`rollback`;
    expect(refusal.extensions).toMatchObject({
      code: 'IDEMPOTENCY_KEY_IN_FLIGHT',
      retryable: true,
      executed: 'UNKNOWN',
    });
    expect(await countOf(items)).toBe(0);
  });

  it('gives its key back when it is refused', async () => {
    const key = makeKey();
    const refused = await send([openItem({ quantity: '0' })], key);
    expect(refusalOf(refused).extensions.code).toBe('BATCH_REJECTED');
    const items = [openItem()];
    const accepted = await send(items, key);
    expect(accepted.errors).toEqual([]);
    expect(accepted.extensions.replayed).toBeUndefined();
    expect(await countOf(items)).toBe(1);
  });

  it('keeps the answer of a batch of which no item was accepted', async () => {
    const { symbol } = openItem();
    await send([openItem({ symbol })], makeKey());
    const key = makeKey();
    const variables = inputOf([openItem({ symbol })], { mode: 'PER_ITEM' });
    const first = await server.request(OPEN, variables, keyed(key));
    const again = await server.request(OPEN, variables, keyed(key));
    expect(first.extensions.commit).toEqual([]);
    expect(again).toMatchObject({ data: first.data, extensions: { commit: [], replayed: true } });
  });

  it('has statuses and ids alone of an answer above 256 KiB', async () => {
    const items = many(1000, () => openItem({ metadata: { padding: 'x'.repeat(100) } }));
    const key = makeKey();
    const first = await send(items, key);
    expect(first.text.length).toBeGreaterThan(256 * 1024);
    expect(first.extensions.shortened).toBeUndefined();
    const again = await send(items, key);
    expect(again.extensions).toMatchObject({ replayed: true, shortened: true });
    const results = first.data?.openPositions.results ?? [];
    expect(again.data).toEqual({
      openPositions: {
        counts: first.data?.openPositions.counts,
        results: results.map(({ index, status, position }) => ({
          index,
          status,
          position: { id: position?.id },
        })),
      },
    });
    expect(again.text.length).toBeLessThan(256 * 1024);
  });

  it('has them under the names that its document gives them', async () => {
    const document = `mutation ($input: OpenPositionsInput!) {
      made: openPositions(input: $input) { __typename ...answer }
    }
    fragment answer on PositionsPayload {
      sums: counts { created }
      all: results { place: index state: status ... on PositionResult { row: position {
        key: id id: symbol metadata } } }
    }`;
    const items = many(1000, () => openItem({ metadata: { padding: 'x'.repeat(300) } }));
    const key = makeKey();
    type Row = { place: number; state: string; row: { key: string } };
    type Data = { made: { all: readonly Row[] } };
    const first = await server.request<Data>(document, inputOf(items), keyed(key));
    const again = await server.request<Data>(document, inputOf(items), keyed(key));
    expect(again.extensions).toMatchObject({ replayed: true, shortened: true });
    expect(again.data).toEqual({
      made: {
        __typename: 'PositionsPayload',
        sums: { created: 1000 },
        all: first.data?.made.all.map(({ place, state, row }) => ({
          place,
          state,
          row: { key: row.key },
        })),
      },
    });
  });

  it('does not need it for a query', async () => {
    const before = await server.inventory();
    const answer = await server.request('{ viewer { role } }', {}, keyed(makeKey()));
    expect(answer.data).toEqual({ viewer: { role: 'ADMIN' } });
    expect(await server.inventory()).toEqual(before);
  });
});

function keyed(key: string): RequestOptions {
  return { headers: { 'idempotency-key': key } };
}
