import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  createFrameRepository,
  type Frame,
  type FrameRequest,
} from '../../../datasources/frame.ts';
import type { Lane } from '../../../datasources/lane.ts';
import { DatabaseError } from '../../../datasources/postgres.ts';
import type { Snapshots } from '../../../datasources/shared-snapshot.ts';
import { makeCall } from '../../support/call.ts';
import { eventually } from '../../support/eventually.ts';
import { makeMarketRows } from '../../support/market-rows.ts';
import { startTestServer, type TestServer } from '../../support/server.ts';
import { insteadOfFetch, secondFirst, watchSnapshots } from '../../support/snapshots.ts';

type Frames = ReturnType<typeof createFrameRepository>;

const KINDS: Readonly<
  Record<string, readonly [string, (frames: Frames, request: FrameRequest) => Promise<Frame>]>
> = {
  predictions: [
    'id predictedAt symbol modelVersion signal price riskScore',
    (frames, request) => frames.readPredictions('main', {}, request),
  ],
  horizons: [
    'id horizonMinutes direction correct',
    (frames, request) => frames.readPredictions('main', {}, request),
  ],
  trades: [
    'id executedAt side price strategy orderId',
    (frames, request) => frames.readTrades('main', {}, request),
  ],
  positions: [
    'id closedAt symbol quantity markPrice unrealizedPnl',
    (frames, request) => frames.readPositions('main', {}, request),
  ],
  candles: [
    'openTime open volume',
    (frames, request) =>
      frames.readCandles({ exchange: 'bybit', symbol: 'BTCUSDT', interval: '1h' }, request),
  ],
};

/** More than there are of any kind. */
const ALL = 100_000;

function requestOf(columns: string, limit = ALL, bytesMax = 1e9): FrameRequest {
  const names = columns.split(' ').map((name) => [name, 1] as const);
  return { columns: new Map(names), limit, decimals: 'STRING', bytesMax };
}

/** What a client has of it. */
function shown({ columns, bytes: _bytes, ...frame }: Frame) {
  return { ...frame, columns: JSON.parse(JSON.stringify(Object.fromEntries(columns))) };
}

describe.each(['on', 'off'])('frames in chunks, DATABASE_PREPARE %s', (prepare) => {
  let server: TestServer;
  let lane: Lane;

  beforeAll(async () => {
    server = await startTestServer({ environment: { DATABASE_PREPARE: prepare } });
    await makeMarketRows(server);
    lane = server.tradewind.database.analytics;
  });

  afterAll(() => server.stop());

  const readBy = (
    kind: string,
    snapshots: Snapshots,
    { chunkRows = 1, limit = ALL, bytesMax = 1e9 } = {},
  ): Promise<Frame> => {
    const [columns, read] = KINDS[kind] ?? KINDS.predictions ?? [];
    if (columns === undefined || read === undefined) throw new Error(kind);
    return read(createFrameRepository(snapshots, chunkRows), requestOf(columns, limit, bytesMax));
  };

  /** A second connection that had nothing to do may still be on its way. */
  const isIdle = () => eventually(() => expect(lane.figures()).toMatchObject({ busy: 0 }));

  it.each(Object.keys(KINDS))('have the %s of one chunk, however they fall', async (kind) => {
    const whole = await readBy(kind, watchSnapshots(lane), { chunkRows: ALL });
    expect(whole.count).toBeGreaterThan(9);
    for (const chunkRows of [1, 2, 3, whole.count - 1, whole.count, whole.count + 1]) {
      for (const limit of [1, 2, whole.count - 1, whole.count, whole.count + 1]) {
        const expected = await readBy(kind, watchSnapshots(lane), { chunkRows: ALL, limit });
        const frame = await readBy(kind, watchSnapshots(lane), { chunkRows, limit });
        expect([chunkRows, limit, shown(frame)]).toEqual([chunkRows, limit, shown(expected)]);
        const sizes = [...frame.columns.values()].map((text) => text.length);
        expect(frame.bytes).toBe(sizes.reduce((sum, size) => sum + size, 0));
      }
    }
    await isIdle();
  });

  it('are empty where there are no rows', async () => {
    const frames = createFrameRepository(watchSnapshots(lane), 2);
    const frame = await frames.readTrades('main', { symbols: ['NOWHERE'] }, requestOf('id price'));
    expect(shown(frame)).toMatchObject({ count: 0, columns: { id: [], price: [] } });
    expect(frame.bytes).toBe('[][]'.length);
  });

  it.each(Object.keys(KINDS))('are %s of one moment by two connections', async (kind) => {
    const expected = await readBy(kind, watchSnapshots(lane));
    await isIdle();
    const snapshots = watchSnapshots(lane, secondFirst({ onBeside: writeMore }));
    const frame = await readBy(kind, snapshots);
    expect(shown(frame)).toEqual(shown(expected));
    const fetches = (by: string) =>
      snapshots.sent.filter(([side, name]) => side === by && name === 'frames.fetch').length;
    expect(fetches('second')).toBeGreaterThan(0);
    expect(fetches('first') + fetches('second')).toBe(frame.count);
    expect(shown(await readBy(kind, watchSnapshots(lane)))).not.toEqual(shown(expected));
    await isIdle();
  });

  it('are read by one where the other connection is in use', async () => {
    const expected = await readBy('trades', watchSnapshots(lane));
    await isIdle();
    const snapshots = watchSnapshots(lane);
    const frame = await lane.withSession(makeCall(), () => readBy('trades', snapshots));
    expect(shown(frame)).toEqual(shown(expected));
    expect(new Set(snapshots.sent.map(([side]) => side))).toEqual(new Set(['first']));
  });

  it('give the second connection back when somebody waits for it', async () => {
    const expected = await readBy('trades', watchSnapshots(lane));
    await isIdle();
    let waiting: Promise<unknown> | null = null;
    const snapshots = watchSnapshots(lane, {
      async onStatement(side, name) {
        if (name !== 'frames.fetch') return undefined;
        if (side === 'second') waiting ??= lane.sql(makeCall())`select 1`.then();
        else await eventually(() => expect(waiting).not.toBeNull()).then(() => waiting);
        return undefined;
      },
    });
    expect(shown(await readBy('trades', snapshots))).toEqual(shown(expected));
    const seconds = snapshots.sent.filter(([side]) => side === 'second');
    expect(seconds.map(([, name]) => name)).toEqual([
      'frames.readTrades',
      ...Array.from({ length: seconds.length - 1 }, () => 'frames.fetch'),
    ]);
    expect(seconds.length).toBeLessThan(4);
    await isIdle();
  });

  it.each(['first', 'second'] as const)(
    'end both when the %s fails, and free them',
    async (broken) => {
      await isIdle();
      const failing = insteadOfFetch(broken, 2, 'select 1 / 0');
      const snapshots = watchSnapshots(lane, secondFirst(failing));
      await expect(readBy('predictions', snapshots)).rejects.toBeInstanceOf(DatabaseError);
      await isIdle();
      expect(snapshots.sent.filter(([, name]) => name === 'frames.fetch').length).toBeLessThan(15);
      expect((await readBy('predictions', watchSnapshots(lane))).count).toBeGreaterThan(10);
    },
  );

  it('are read again when a connection is lost', async () => {
    const expected = await readBy('predictions', watchSnapshots(lane));
    await isIdle();
    const ending = 'select pg_terminate_backend(pg_backend_pid())';
    const snapshots = watchSnapshots(lane, secondFirst(insteadOfFetch('second', 2, ending)));
    expect(shown(await readBy('predictions', snapshots))).toEqual(shown(expected));
    expect(snapshots.sent.filter(([, name]) => name === 'frames.findChunks')).toHaveLength(2);
    await isIdle();
  });

  it('are read by one where the other cannot join', async () => {
    const expected = await readBy('predictions', watchSnapshots(lane));
    await isIdle();
    const { withSpareSession } = lane;
    const broken: Lane = {
      ...lane,
      withSpareSession: (call, work) =>
        withSpareSession(call, (session, isWanted) =>
          work({ ...session, command: () => Promise.reject(lost) }, isWanted),
        ),
    };
    const lost = new DatabaseError('UNAVAILABLE', 'It cannot be reached.');
    const frame = await readBy('predictions', watchSnapshots(broken));
    expect(shown(frame)).toEqual(shown(expected));
    await isIdle();
  });

  it('end above the bound, however many chunks there are left', async () => {
    const { bytes } = await readBy('predictions', watchSnapshots(lane));
    const whole = await readBy('predictions', watchSnapshots(lane), { bytesMax: bytes });
    expect(whole.columns.size).toBe(7);
    const last = await readBy('predictions', watchSnapshots(lane), { bytesMax: bytes - 1 });
    expect(last).toMatchObject({ bytes, columns: new Map() });
    const snapshots = watchSnapshots(lane);
    const early = await readBy('predictions', snapshots, { bytesMax: 100 });
    expect(early.columns.size).toBe(0);
    expect(early.bytes).toBeGreaterThan(100);
    expect(snapshots.sent.filter(([, name]) => name === 'frames.fetch').length).toBeLessThan(9);
    await isIdle();
  });

  /** Every frame is another one afterwards. */
  async function writeMore(): Promise<void> {
    await server.sql.unsafe(`
      update predictions set signal = case signal when 'LONG' then 'SHORT' else 'LONG' end;
      update prediction_horizons
        set direction = case direction when 'LONG' then 'SHORT' else 'LONG' end;
      update trades set price = price + 1;
      update positions set entry_price = entry_price + 1, symbol = symbol || 'X';
      delete from candles where open_time = (select max(open_time) from candles)`);
  }
});
