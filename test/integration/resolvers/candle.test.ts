import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { INGEST, refusalOf } from '../../support/documents.ts';
import { candleItem, type Item, makeSymbol, many } from '../../support/make.ts';
import { startTestServer, type TestServer } from '../../support/server.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.stop());

async function ingest(items: readonly Item[]): Promise<unknown> {
  const { ingestCandles } = await server.data<Item>(INGEST, { input: { items } });
  return ingestCandles;
}

async function read(symbol: string, changes: Item = {}): Promise<readonly Item[]> {
  const document = `query ($symbol: String!, $range: TimeRange, $last: Int) {
    candles(exchange: "bybit", symbol: $symbol, interval: "15m", range: $range, last: $last) {
      exchange symbol interval openTime open high low close volume
    }
  }`;
  const data = await server.data<{ candles: Item[] }>(document, { symbol, ...changes });
  return data.candles;
}

/** Of minute `index * 15`. */
function openTime(index: number): string {
  return new Date(Date.UTC(2026, 0, 1) + index * 900_000).toISOString().replace('Z', '000Z');
}

describe('ingestCandles', () => {
  it('creates what is new, updates what differs and leaves the rest alone', async () => {
    const symbol = makeSymbol();
    const candles = many(3, (index) => candleItem({ symbol, openTime: openTime(index) }));
    expect(await ingest(candles)).toEqual({ created: 3, updated: 0, unchanged: 0 });
    const next = [
      candles[0] ?? {},
      { ...candles[2], close: '109.5', volume: '20' },
      candleItem({ symbol, openTime: openTime(3) }),
    ];
    expect(await ingest(next)).toEqual({ created: 1, updated: 1, unchanged: 1 });
    const stored = await read(symbol);
    expect(stored.map((candle) => candle.close)).toEqual(['105', '105', '109.5', '105']);
  });

  it('keeps every digit of a candle', async () => {
    const symbol = makeSymbol();
    const candle = candleItem({
      symbol,
      openTime: openTime(0),
      open: '0.000000000000000001',
      high: '99999999999999999999.999999999999999999',
      low: '0.000000000000000001',
      close: '0.1',
      volume: '0',
    });
    await ingest([candle]);
    expect(await read(symbol)).toEqual([candle]);
  });

  it('says nothing changed when digits differ only in form, and logs nothing', async () => {
    const symbol = makeSymbol();
    await ingest([candleItem({ symbol })]);
    const before = await server.inventory();
    const again = candleItem({ symbol, open: '100.000', openTime: '2026-01-15T14:00:00+02:00' });
    expect(await ingest([again])).toEqual({ created: 0, updated: 0, unchanged: 1 });
    expect(await server.inventory()).toEqual(before);
  });

  it('is one change in the log of the system, with the keys of what it wrote', async () => {
    const symbol = makeSymbol();
    const [old, ...others] = many(3, (index) => candleItem({ symbol, openTime: openTime(index) }));
    await ingest([old ?? {}]);
    await ingest([old ?? {}, ...others]);
    const [change] = await server.sql`
      select entity, operation, ids, count from changes
      where account_id = '_system' order by seq desc limit 1`;
    expect(change).toEqual({
      entity: 'candle',
      operation: 'INSERT',
      ids: [`bybit:${symbol}:15m:2026-01-01T00:15:00Z`, `bybit:${symbol}:15m:2026-01-01T00:30:00Z`],
      count: 2,
    });
  });

  it('takes one statement for 1000 candles', async () => {
    const symbol = makeSymbol();
    const items = many(1000, (index) => candleItem({ symbol, openTime: openTime(index) }));
    server.statements();
    expect(await ingest(items)).toEqual({ created: 1000, updated: 0, unchanged: 0 });
    expect(server.statements()).toEqual([
      'transaction.begin',
      'candles.upsertMany',
      'changes.append',
      'transaction.commit',
    ]);
  });

  it.each<[string, Item, string]>([
    ['a high below the close', { high: '104' }, 'high'],
    ['a low above the open', { low: '101' }, 'low'],
    ['a price of nothing', { low: '0' }, 'low'],
    ['a negative volume', { volume: '-1' }, 'volume'],
    ['an interval that is none', { interval: '15' }, 'interval'],
    ['an exchange in upper case', { exchange: 'Bybit' }, 'exchange'],
    ['an instant before 2015', { openTime: '2014-01-01T00:00:00Z' }, 'openTime'],
  ])('refuses all for %s', async (_what, changes, field) => {
    const before = await server.inventory();
    const items = [candleItem({ symbol: makeSymbol() }), candleItem(changes)];
    const refusal = refusalOf(await server.request(INGEST, { input: { items } }));
    expect(refusal.extensions).toMatchObject({
      code: 'BAD_INPUT',
      executed: 'NO',
      path: ['input', 'items', '1', field],
    });
    expect(await server.inventory()).toEqual(before);
  });

  it('refuses a batch that names a candle twice', async () => {
    const items = [candleItem(), candleItem({ openTime: '2026-01-15T13:00:00+01:00' })];
    const refusal = refusalOf(await server.request(INGEST, { input: { items } }));
    expect(refusal.extensions).toMatchObject({ path: ['input', 'items', '1'] });
  });
});

describe('candles', () => {
  const symbol = makeSymbol();

  beforeAll(async () => {
    // Without the fourth: gaps of the exchange are gaps here.
    const items = many(7, (index) => candleItem({ symbol, openTime: openTime(index) }));
    await ingest(items.toSpliced(3, 1));
  });

  const times = async (changes: Item) =>
    (await read(symbol, changes)).map((candle) => candle.openTime);

  it('gives the newest, oldest first', async () => {
    expect(await times({ last: 3 })).toEqual([4, 5, 6].map(openTime));
  });

  it('gives a range with its start and without its end, gaps as gaps', async () => {
    const range = { from: openTime(1), to: openTime(5) };
    expect(await times({ range })).toEqual([1, 2, 4].map(openTime));
    expect(await times({ range, last: 2 })).toEqual([2, 4].map(openTime));
  });

  it('gives up to 5000 and refuses 5001', async () => {
    expect(await times({ last: 5000 })).toHaveLength(6);
    const { errors } = await server.request(
      '{ candles(exchange: "bybit", symbol: "A", interval: "1h", last: 5001) { open } }',
    );
    expect(errors[0]?.extensions).toMatchObject({ code: 'BAD_INPUT', path: ['last'] });
  });
});
