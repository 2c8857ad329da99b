import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createFrameRepository, type FrameRequest } from '../../datasources/frame.ts';
import { createSnapshots } from '../../datasources/shared-snapshot.ts';
import { makeCall } from '../support/call.ts';
import { makeMarketRows } from '../support/market-rows.ts';
import { type Answer, startTestServer, type TestServer } from '../support/server.ts';
import { connectSocket } from '../support/socket.ts';
import { startWriters } from '../support/writers.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
  await makeMarketRows(server);
  // Each has a strategy of 200 characters: 400 rows of it are 80 KB.
  await server.sql`
    insert into positions (account_id, id, exchange, symbol, side, status, quantity, entry_price,
      strategy, opened_at, updated_at)
    select 'main', gen_random_uuid(), 'wide', 'W' || n, 'LONG', 'OPEN', 1, 1, repeat('w', 200),
      now(), now()
    from generate_series(1, 400) as n`;
});

afterAll(() => server.stop());

type Row = Readonly<Record<string, unknown>>;

/** A frame that shows the wide strategies so often. */
function wide(times: number): string {
  const aliases = Array.from({ length: times }, (_none, place) => `c${place}: strategy`);
  return `{ positionFrame(account: "main", where: { exchange: "wide" }) { ${aliases} } }`;
}

describe('over the other transports', () => {
  const QUERY = '{ tradeFrame(account: "main") { count symbol strategy } }';

  it('comes compressed when asked', async () => {
    const plain = await post({ 'accept-encoding': 'identity' });
    const packed = await post({ 'accept-encoding': 'br, gzip;q=0.5' });
    expect(packed.headers.get('content-encoding')).toBe('gzip');
    expect(plain.headers.get('content-encoding')).toBeNull();
    const text = await plain.text();
    expect(Number(plain.headers.get('content-length'))).toBe(Buffer.byteLength(text));
    expect(await packed.text()).toBe(text);
  });

  it('has the media type that was asked for', async () => {
    const accept = 'application/graphql-response+json';
    expect((await post({ accept })).headers.get('content-type')).toBe(`${accept}; charset=utf-8`);
  });

  it('is the same over SSE and WebSocket', async () => {
    const expected = (await (await post({})).json()) as Answer<Row>;
    const events = await (await post({ accept: 'text/event-stream' })).text();
    const line = events.split('\n').find((one) => one.startsWith('data: {'));
    expect(JSON.parse(line?.slice('data: '.length) ?? '')).toEqual(expected);
    const socket = await connectSocket(server);
    socket.send({ type: 'subscribe', id: '1', payload: { query: QUERY } });
    expect((await socket.next('1')).payload).toEqual(expected);
    socket.close();
  });

  it('is smaller there, where it is made one text', async () => {
    const socket = await connectSocket(server);
    socket.send({ type: 'subscribe', id: '1', payload: { query: wide(60) } });
    expect((await socket.next('1')).payload).toMatchObject({
      errors: [{ extensions: { code: 'FRAME_TOO_LARGE', bytesMax: 4 * 1024 * 1024 } }],
    });
    socket.close();
    await server.data(wide(60));
  });

  function post(headers: Readonly<Record<string, string>>): Promise<Response> {
    return fetch(`${server.url}/graphql`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        authorization: `Bearer ${server.key}`,
        ...headers,
      },
      body: JSON.stringify({ query: QUERY }),
    });
  }
});

describe('the bounds of a frame', () => {
  const read = (limit: number) =>
    server.request<Row>(`{ tradeFrame(account: "main", limit: ${limit}) { count } }`);

  it('are 1 to 200,000 rows', async () => {
    for (const limit of [1, 200_000]) expect((await read(limit)).errors).toEqual([]);
    expect((await read(0)).errors[0]?.extensions).toMatchObject({
      code: 'BAD_INPUT',
      path: ['limit'],
    });
    const [error] = (await read(200_001)).errors;
    expect(error?.extensions).toMatchObject({
      code: 'FRAME_TOO_LARGE',
      path: ['limit'],
      rowsMax: 200_000,
    });
    expect(error?.message).toContain('/export/');
  });

  it('are 64 MiB, counted as often as columns are shown', async () => {
    const { text } = await server.request(wide(800));
    expect(text.length).toBeGreaterThan(60_000_000);
    const { data, errors } = await server.request<Row>(wide(850));
    expect(data).toEqual({ positionFrame: null });
    expect(errors[0]?.extensions).toMatchObject({
      code: 'FRAME_TOO_LARGE',
      bytesMax: 64 * 1024 * 1024,
    });
    expect(errors[0]?.message).toContain('/export/');
  });

  it('hold to the byte, and nothing is read above', async () => {
    const { analytics } = server.tradewind.database;
    const { readTrades } = createFrameRepository(createSnapshots(analytics, makeCall()));
    const request = (bytesMax: number): FrameRequest => ({
      columns: new Map([
        ['price', 2],
        ['side', 1],
      ]),
      limit: 1000,
      decimals: 'STRING',
      bytesMax,
    });
    const { bytes, columns } = await readTrades('main', {}, request(1_000_000));
    const sizes = [...columns].map(([name, text]) => [name, text.length] as const);
    const [price, side] = sizes.map(([, size]) => size);
    expect(bytes).toBe(2 * (price ?? 0) + (side ?? 0));
    expect((await readTrades('main', {}, request(bytes))).columns.size).toBe(2);
    const above = await readTrades('main', {}, request(bytes - 1));
    expect(above).toMatchObject({ bytes, columns: new Map() });
  });

  it('end it at the deadline', async () => {
    const locker = server.connect();
    await locker.unsafe('begin');
    await locker.unsafe('lock table trades in access exclusive mode');
    const { data, errors } = await server.request(
      '{ tradeFrame(account: "main") { price } }',
      {},
      { headers: { 'x-deadline-ms': '300' } },
    );
    await locker.unsafe('rollback');
    expect(data).toEqual({ tradeFrame: null });
    expect(errors[0]?.extensions.code).toBe('DEADLINE_EXCEEDED');
  });
});

describe('a frame that is read while others write', () => {
  let busy: TestServer;

  beforeAll(async () => {
    busy = await startTestServer();
  });

  afterAll(() => busy.stop());

  it('has the rows of the log up to its seq, in every column', async () => {
    const writers = startWriters(3, () => busy);
    const counts = new Set<number>();
    for (let round = 0; round < 15; round += 1) {
      await writers.progress();
      const data = await busy.data<Record<string, Row>>(`{
        prediction: predictionFrame(account: "main") { count asOfSeq id predictedAt price }
        horizon: predictionFrame(account: "main") { count asOfSeq id horizonMinutes correct }
        position: positionFrame(account: "main") { count asOfSeq id markPrice status }
      }`);
      for (const [name, { count, asOfSeq, ...columns }] of Object.entries(data)) {
        for (const column of Object.values(columns)) expect(column).toHaveLength(Number(count));
        // Each prediction has one horizon.
        const entity = name === 'position' ? 'position' : 'prediction';
        const [log] = await busy.sql`
          select sum(count)::int as rows from changes
          where account_id = 'main' and entity = ${entity} and seq <= ${String(asOfSeq)}`;
        expect([name, log?.rows]).toEqual([name, count]);
        counts.add(Number(count));
      }
    }
    await writers.stop();
    expect(counts.size).toBeGreaterThan(1);
  });
});
