import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { predict } from '../support/documents.ts';
import { openExport, parseCsv, readAll } from '../support/export.ts';
import { type Item, predictionItem } from '../support/make.ts';
import { makeMarketRows } from '../support/market-rows.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

const COLUMNS = {
  predictions:
    'id predictedAt exchange symbol interval modelVersion signal signalConfidence price riskScore ' +
    'inferenceTimeMs',
  trades:
    'id executedAt exchange symbol side price quantity commission realizedPnl strategy orderId ' +
    'positionId',
  positions:
    'id openedAt closedAt exchange symbol side status quantity entryPrice realizedPnl fees ' +
    'strategy markPrice unrealizedPnl',
  candles: 'openTime open high low close volume',
} as const;
type Kind = keyof typeof COLUMNS;
const HORIZONS =
  'horizonMinutes direction confidence predictedReturn actualReturn actualDirection correct';
const SERIES = { exchange: 'bybit', symbol: 'BTCUSDT', interval: '1h' };
const ROWS = 50_000;

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
  await makeMarketRows(server);
  await server.sql`insert into accounts (id, name) values ('large', 'Large')`;
  await server.sql`insert into account_heads (account_id) values ('large')`;
  await server.sql`select create_prediction_partitions('2024-01-01')`;
  await server.sql`
    insert into predictions (account_id, id, exchange, symbol, interval, model_version,
      predicted_at, price, signal, signal_confidence, risk_score, created_at, item_hash)
    select 'large', ('018cc251-f4' || lpad(to_hex(n / 65536), 2, '0') || '-7' ||
        lpad(to_hex(n % 4096), 3, '0') || '-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
      'bybit', 'S' || n % 7 || 'USDT', '15m', 'model "' || n % 3 || '"',
      timestamptz '2024-01-01' + n * interval '1.5 seconds', n + 0.000000000000000001, 'LONG',
      n / 100000.0, nullif(random(), 0), now(), ''
    from generate_series(1, ${ROWS}::int) as n`;
});

afterAll(() => server.stop());

type Row = Readonly<Record<string, unknown>>;

function pathOf(kind: Kind, parameters: Readonly<Record<string, string>> = {}): string {
  const own = kind === 'candles' ? SERIES : { account: 'main' };
  return `${kind}?${new URLSearchParams({ ...own, ...parameters })}`;
}

/** The frame of the same rows, by rows. */
async function frameRows(
  kind: Kind,
  columns: string,
  { where = {}, account = 'main', decimals = 'STRING' } = {},
): Promise<readonly Row[]> {
  const field = `${kind.slice(0, -1)}Frame`;
  const type = `${kind.charAt(0).toUpperCase()}${kind.slice(1, -1)}Where`;
  const of =
    kind === 'candles'
      ? 'exchange: "bybit", symbol: "BTCUSDT", interval: "1h"'
      : `account: "${account}", where: $where`;
  const declared = kind === 'candles' ? '' : `$where: ${type}, `;
  const data = await server.data<Record<string, Readonly<Record<string, readonly unknown[]>>>>(
    `query (${declared}$decimals: DecimalFormat) {
      ${field}(${of}, limit: 200000, decimals: $decimals) { ${columns} }
    }`,
    { ...(kind === 'candles' ? {} : { where }), decimals },
  );
  const frame = data[field] ?? {};
  const names = columns.split(' ');
  const length = frame[names[0] ?? '']?.length ?? 0;
  return Array.from({ length }, (_none, place) =>
    Object.fromEntries(names.map((name) => [name, frame[name]?.[place]])),
  );
}

async function ndjson(path: string): Promise<readonly Row[]> {
  const text = await readAll(await openExport(server, path));
  return text === ''
    ? []
    : text
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line));
}

async function csv(path: string): Promise<readonly Row[]> {
  const [names = [], ...rows] = parseCsv(
    await readAll(await openExport(server, path, { accept: 'text/csv' })),
  );
  return rows.map((cells) =>
    Object.fromEntries(names.map((name, place) => [String(name), cells[place]])),
  );
}

/** As CSV has them: texts, and nothing for null. */
function asTexts(rows: readonly Row[]): readonly Row[] {
  const text = (value: unknown) => (value === null ? null : String(value));
  return rows.map((row) =>
    Object.fromEntries(Object.entries(row).map(([name, value]) => [name, text(value)])),
  );
}

/** PostgreSQL and JavaScript write some numbers in two ways. */
function withNumbers(rows: readonly Row[], columns: readonly string[]): readonly Row[] {
  const number = (value: unknown) => (value === null ? null : Number(value));
  return rows.map((row) => ({
    ...row,
    ...Object.fromEntries(columns.map((name) => [name, number(row[name])])),
  }));
}

const FLOATS: Readonly<Record<Kind, readonly string[]>> = {
  predictions: ['signalConfidence', 'riskScore', 'inferenceTimeMs'],
  trades: [],
  positions: [],
  candles: [],
};

describe.each(['predictions', 'trades', 'positions', 'candles'] as const)('exported %s', (kind) => {
  it('are the rows of the frame, as NDJSON', async () => {
    const expected = await frameRows(kind, COLUMNS[kind]);
    expect(expected.length).toBeGreaterThan(7);
    expect(await ndjson(pathOf(kind))).toEqual(expected);
  });

  it('are the rows of the frame, as CSV with empty cells for null', async () => {
    const expected = asTexts(await frameRows(kind, COLUMNS[kind]));
    const rows = await csv(pathOf(kind));
    expect(withNumbers(rows, FLOATS[kind])).toEqual(withNumbers(expected, FLOATS[kind]));
  });

  it('have numbers for decimals when asked', async () => {
    const expected = await frameRows(kind, COLUMNS[kind], { decimals: 'FLOAT' });
    expect(await ndjson(pathOf(kind, { decimals: 'FLOAT' }))).toEqual(expected);
  });
});

describe('an export', () => {
  it.each<[Kind, Item]>([
    ['predictions', { symbols: ['AUSDT'], signal: ['LONG'], minConfidence: 0.2 }],
    ['predictions', { predictedAt: { from: '2026-02-10T00:00:00Z' }, resolved: false }],
    ['trades', { side: 'SELL', exchange: 'bybit' }],
    ['positions', { status: ['OPEN'], side: 'LONG' }],
    ['positions', { symbols: ['NOWHERE'] }],
  ])('has the filter of the %s: %o', async (kind, where) => {
    const expected = await frameRows(kind, COLUMNS[kind], { where });
    expect(await ndjson(pathOf(kind, { where: JSON.stringify(where) }))).toEqual(expected);
  });

  it('has a row for each horizon with a column of them, by the name of the frame as well', async () => {
    const columns = `id price ${HORIZONS}`;
    const path = `predictionFrame?account=main&columns=${columns.replaceAll(' ', ',')}`;
    const rows = await ndjson(path);
    expect(rows).toEqual(await frameRows('predictions', columns));
    expect(rows.map((row) => row.correct)).toEqual(expect.arrayContaining([true, false, null]));
  });

  it('has the range of candles', async () => {
    const range = JSON.stringify({ from: '2026-01-15T05:00:00Z', to: '2026-01-15T07:00:00Z' });
    const rows = await csv(pathOf('candles', { range }));
    expect(rows.map((row) => row.openTime)).toEqual([
      '2026-01-15T05:00:00.000000Z',
      '2026-01-15T06:00:00.000000Z',
    ]);
  });

  it('says what it is and of which moment', async () => {
    const response = await openExport(server, pathOf('trades', { format: 'csv' }));
    await readAll(response);
    const { account } = await server.data<{ account: { headSeq: string } }>(
      '{ account(id: "main") { headSeq } }',
    );
    expect(response.headers).toMatchObject({
      'content-type': 'text/csv; charset=utf-8',
      'content-disposition': 'attachment; filename="trades.csv"',
      'x-as-of-seq': account.headSeq,
    });
  });

  it.each([
    ['another frame', 'orders?account=main', 404, 'NOT_FOUND', undefined],
    ['another account', 'trades?account=nowhere', 404, 'NOT_FOUND', ['account']],
    ['no JSON', 'trades?account=main&where={', 400, 'BAD_INPUT', ['where']],
    ['another filter', 'trades?account=main&where={"status":"OPEN"}', 400, 'BAD_INPUT', ['where']],
    [
      'a bad value',
      'trades?account=main&where={"executedAt":{"from":"x"}}',
      400,
      'BAD_INPUT',
      ['where', 'executedAt', 'from'],
    ],
    ['another column', 'trades?account=main&columns=price,features', 400, 'BAD_INPUT', ['columns']],
    ['a column twice', 'trades?account=main&columns=price,price', 400, 'BAD_INPUT', ['columns']],
    ['another parameter', 'trades?account=main&limit=3', 400, 'BAD_INPUT', ['limit']],
    ['another format', 'trades?account=main&format=xml', 400, 'BAD_INPUT', ['format']],
    ['another form', 'trades?account=main&decimals=FIXED', 400, 'BAD_INPUT', ['decimals']],
    ['no symbol', 'candles?exchange=bybit&interval=1h', 400, 'BAD_INPUT', ['symbol']],
  ])('refuses %s', async (_what, path, status, code, inputPath) => {
    const response = await openExport(server, encodeURI(path));
    const { errors } = JSON.parse(await readAll(response));
    expect(response.statusCode).toBe(status);
    expect(errors[0].extensions).toMatchObject({ code, requestId: expect.any(String) });
    expect(errors[0].extensions.path).toEqual(inputPath);
  });

  it('refuses a list of 501 in its filter', async () => {
    const symbols = Array.from({ length: 501 }, (_none, place) => `S${place}`);
    const path = pathOf('trades', { where: JSON.stringify({ symbols }) });
    expect((await openExport(server, path)).statusCode).toBe(400);
  });

  it('is for keys of the account, and read only', async () => {
    const { token } = await server.issueKey('VIEWER', ['other']);
    const refused = await openExport({ url: server.url, key: token }, pathOf('trades'));
    const unknown = await openExport({ url: server.url, key: 'tw_nobody' }, pathOf('trades'));
    const posted = await fetch(`${server.url}/export/trades`, { method: 'POST' });
    expect([refused.statusCode, unknown.statusCode, posted.status]).toEqual([403, 401, 405]);
  });
});

describe('an export of 50,000 rows', () => {
  const columns = COLUMNS.predictions;

  it('is the frame, in both formats and compressed', async () => {
    const expected = await frameRows('predictions', columns, { account: 'large' });
    expect(expected).toHaveLength(ROWS);
    expect(await ndjson('predictions?account=large')).toEqual(expected);
    const rows = await csv('predictions?account=large');
    const floats = FLOATS.predictions;
    expect(withNumbers(rows, floats)).toEqual(withNumbers(asTexts(expected), floats));
    const packed = await openExport(server, 'predictions?account=large', {
      'accept-encoding': 'gzip',
    });
    expect(packed.headers['content-encoding']).toBe('gzip');
    const chunks: Buffer[] = [];
    for await (const chunk of packed) chunks.push(chunk);
    const lines = gunzipSync(Buffer.concat(chunks)).toString().trimEnd().split('\n');
    expect(lines.map((line) => JSON.parse(line))).toEqual(expected);
  });

  it('has the rows of its moment, whatever is written while it is read', async () => {
    const response = await openExport(server, 'predictions?account=large&columns=id,symbol,price');
    await predict(server, [predictionItem({ predictedAt: '2026-03-01T00:00:00Z' })], {
      account: 'large',
    });
    const lines = (await readAll(response)).trimEnd().split('\n');
    expect(lines).toHaveLength(ROWS);
    expect(response.headers['x-as-of-seq']).toBe('0');
    const after = await openExport(server, 'predictions?account=large&columns=id');
    expect((await readAll(after)).trimEnd().split('\n')).toHaveLength(ROWS + 1);
    expect(after.headers['x-as-of-seq']).toBe('1');
  });
});
