import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { verifyChain } from '../../../datasources/change.ts';
import { decodeId } from '../../../datasources/id.ts';
import { instantOf } from '../../../datasources/instant.ts';
import {
  createMaintainer,
  IDEMPOTENCY_KEY_HOURS,
  MAINTENANCE_ROWS,
  type MaintainerOptions,
  type RetentionDays,
} from '../../../datasources/maintainer.ts';
import { createUnitsOfWork } from '../../../datasources/unit-of-work.ts';
import { makeCall } from '../../support/call.ts';
import { INGEST, inputOf, PREDICT } from '../../support/documents.ts';
import { candleItem, many, openItem, predictionItem } from '../../support/make.ts';
import { startTestServer, type TestServer } from '../../support/server.ts';
import { createSignal, createSignals, PROCESS_SIGNALS, signalItem } from '../../support/signal.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const NEVER: RetentionDays = { signals: null, predictions: null, candles: null, changes: null };

let server: TestServer;
let nowMs: number;
const warnings: object[] = [];

beforeAll(async () => {
  server = await startTestServer();
  const { sql } = server;
  await sql`insert into accounts (id, name) values ('second', 'Second')`;
  await sql`insert into account_heads (account_id) values ('second')`;
});

afterAll(() => server.stop());

beforeEach(async () => {
  nowMs = Date.now();
  warnings.length = 0;
  await server.sql`
    truncate signals, settings, idempotency_keys, predictions, prediction_horizons, candles,
      positions, trades, changes, change_checkpoints`;
  await server.sql`update account_heads set seq = 0, hash = ''`;
});

function maintain(options: Partial<MaintainerOptions> = {}) {
  return createMaintainer({
    units: createUnitsOfWork(server.tradewind.database, () => {}),
    log: { warn: (fields) => warnings.push(fields) },
    retentionDays: NEVER,
    takeKeyUses: () => new Map(),
    giveBackKeyUses: () => undefined,
    clock: () => nowMs,
    ...options,
  });
}

interface Row {
  readonly seq: string;
  readonly entity: string;
  readonly operation: string;
  readonly ids: readonly string[];
  readonly count: number;
  readonly before: Readonly<Record<string, unknown>> | null;
  readonly after: unknown;
  readonly actor: string;
  readonly at: string;
}

async function changesOf(account: string): Promise<readonly Row[]> {
  return server.sql<Row[]>`
    select seq, entity, operation, ids, count, before, after, actor, at from changes
    where account_id = ${account} order by seq`;
}

async function countOf(table: string): Promise<number> {
  const [row] = await server.sql.unsafe(`select count(*)::int as count from ${table}`);
  return Number(row?.count);
}

const PUT = `mutation ($input: PutSettingsInput!) {
  putSettings(input: $input) { settings { key } }
}`;

function put(key: string, value: unknown) {
  return server.data(PUT, inputOf([{ key, value }]));
}

function rowIdOf(id: string): string {
  return decodeId(id)?.id ?? '';
}

function verify(account: string) {
  return verifyChain(server.tradewind.database.analytics.sql(makeCall()), account);
}

describe('maintenance', () => {
  it('makes the partitions of this month and the next two, once', async () => {
    nowMs = Date.UTC(2031, 10, 30, 23, 59);
    expect(await maintain().run()).toMatchObject({ partitions: 3 });
    expect(await maintain().run()).toMatchObject({ partitions: 0 });
    const rows = await server.sql`
      select relname from pg_class where relname ~ '^predict.*_203[12]_[0-9]+$' order by relname`;
    expect(rows.map(({ relname }) => relname)).toEqual([
      'prediction_horizons_2031_11',
      'prediction_horizons_2031_12',
      'prediction_horizons_2032_01',
      'predictions_2031_11',
      'predictions_2031_12',
      'predictions_2032_01',
    ]);
  });

  it('deletes nothing that no retention was set for', async () => {
    await server.data(PREDICT, inputOf([predictionItem()]));
    await server.data(INGEST, { input: { items: [candleItem()] } });
    await createSignal(server);
    nowMs += 10_000 * DAY_MS;
    await maintain().run();
    const counts = await Promise.all(['signals', 'predictions', 'candles'].map(countOf));
    expect(counts).toEqual([1, 1, 1]);
    expect((await changesOf('main')).some(({ operation }) => operation === 'DELETE')).toBe(false);
  });

  it('leaves a step to the node that is at it', async () => {
    const { expiresAt } = await createSignal(server);
    nowMs = Date.parse(expiresAt);
    const session = server.connect();
    await session.unsafe('begin');
    await session`
      select pg_advisory_xact_lock(hashtextextended('tradewind.maintenance.expiry', 0))`;
    expect(await maintain().run()).toMatchObject({ expiry: 0 });
    await session.unsafe('commit');
    expect(await maintain().run()).toMatchObject({ expiry: 1 });
  });

  it('goes on when a step fails, and logs it', async () => {
    await server.sql`alter table settings rename to settings_away`;
    try {
      const { expiresAt } = await createSignal(server);
      nowMs = Date.parse(expiresAt);
      const report = await maintain({ retentionDays: { ...NEVER, candles: 1 } }).run();
      expect(report).toMatchObject({ expiry: 1, settings: 0, candles: 0 });
      expect(warnings).toMatchObject([{ step: 'settings' }]);
    } finally {
      await server.sql`alter table settings_away rename to settings`;
    }
  });

  it('gives uses of keys back that it could not write', async () => {
    const uses = new Map([['unknown', 1_800_000_000_000]]);
    const back: unknown[] = [];
    await server.sql`alter table api_keys rename to api_keys_away`;
    try {
      const giveBackKeyUses = (given: unknown) => back.push(given);
      await maintain({ takeKeyUses: () => uses, giveBackKeyUses }).run();
    } finally {
      await server.sql`alter table api_keys_away rename to api_keys`;
    }
    expect(back).toEqual([uses]);
    expect(warnings).toMatchObject([{ step: 'keyUses' }]);
  });

  it('writes when keys were used last, and never an earlier time', async () => {
    const { id } = await server.issueKey('VIEWER', ['main']);
    const lastUsed = async (timeMs: number) => {
      await maintain({ takeKeyUses: () => new Map([[id, timeMs]]) }).run();
      const [row] = await server.sql`
        select extract(epoch from last_used_at)::float8 * 1000 as ms from api_keys where id = ${id}`;
      return Number(row?.ms);
    };
    expect(await lastUsed(1_800_000_000_123)).toBe(1_800_000_000_123);
    expect(await lastUsed(1_700_000_000_000)).toBe(1_800_000_000_123);
  });
});

describe('expiry', () => {
  it('marks active signals from the instant of their expiry and logs each', async () => {
    const { id, expiresAt } = await createSignal(server);
    nowMs = Date.parse(expiresAt) - 1;
    expect(await maintain().run()).toMatchObject({ expiry: 0 });
    nowMs += 1;
    expect(await maintain().run()).toMatchObject({ expiry: 1 });
    const [created, expired] = await changesOf('main');
    expect(expired).toMatchObject({
      entity: 'signal',
      operation: 'UPDATE',
      ids: [rowIdOf(id)],
      before: created?.after,
      after: { ...(created?.after as object), status: 'EXPIRED' },
      actor: 'system',
    });
    expect(await maintain().run()).toMatchObject({ expiry: 0 });
  });

  it('leaves processed signals as they are', async () => {
    const { id, expiresAt } = await createSignal(server);
    await server.data(PROCESS_SIGNALS, { input: { account: 'main', ids: [id] } });
    nowMs = Date.parse(expiresAt);
    expect(await maintain().run()).toMatchObject({ expiry: 0 });
  });

  it('is done for every account and for more than a unit of work takes', async () => {
    for (const account of ['main', 'second']) {
      const items = many(MAINTENANCE_ROWS, () => signalItem());
      await createSignals(server, items, { account });
    }
    nowMs += 2 * HOUR_MS;
    expect(await maintain().run()).toMatchObject({ expiry: 2 * MAINTENANCE_ROWS });
    expect(await changesOf('second')).toHaveLength(2 * MAINTENANCE_ROWS);
    expect(await verify('second')).toMatchObject({ firstBad: null });
  });

  it('is done once when two nodes begin at the same time', async () => {
    await createSignals(
      server,
      many(50, () => signalItem()),
    );
    nowMs += 2 * HOUR_MS;
    const reports = await Promise.all([maintain().run(), maintain().run()]);
    const expired = reports.map(({ expiry }) => expiry ?? 0);
    expect((expired[0] ?? 0) + (expired[1] ?? 0)).toBe(50);
    expect(await changesOf('main')).toHaveLength(100);
  });
});

describe('what is forgotten', () => {
  it('are idempotency keys after three days', async () => {
    const settled = async (key: string) => {
      const headers = { 'idempotency-key': key };
      await server.data(
        'mutation { createAccount(input: { id: "main", name: "Main" }) { id } }',
        {},
        {
          headers,
        },
      );
    };
    await settled('old');
    await settled('new');
    const before = instantOf(nowMs - IDEMPOTENCY_KEY_HOURS * HOUR_MS - 1000);
    await server.sql`update idempotency_keys set committed_at = ${before} where key = 'old'`;
    expect(await maintain().run()).toMatchObject({ idempotencyKeys: 1 });
    const rows = await server.sql`select key from idempotency_keys`;
    expect(rows.map(({ key }) => key)).toEqual(['new']);
  });

  it('are the versions of settings that were removed three days ago', async () => {
    for (const key of ['kept', 'removed']) await put(key, 1);
    await put('removed', null);
    expect(await maintain().run()).toMatchObject({ settings: 0 });
    nowMs += (IDEMPOTENCY_KEY_HOURS + 1) * HOUR_MS;
    expect(await maintain().run()).toMatchObject({ settings: 1 });
    expect(await countOf('settings')).toBe(1);
  });
});

describe('retention', () => {
  it('runs once an hour', async () => {
    await server.data(INGEST, { input: { items: [candleItem()] } });
    const maintainer = maintain({ retentionDays: { ...NEVER, candles: 1 } });
    expect(await maintainer.run()).toMatchObject({ candles: 1 });
    nowMs += HOUR_MS - 1;
    expect(await maintainer.run()).not.toHaveProperty('candles');
    nowMs += 1;
    expect(await maintainer.run()).toMatchObject({ candles: 0 });
  });

  it('deletes candles by the time they opened and logs their keys', async () => {
    const openTimes = ['2026-01-15T12:00:00Z', '2026-01-15T12:15:00Z'];
    const items = openTimes.map((openTime) => candleItem({ openTime }));
    await server.data(INGEST, { input: { items } });
    nowMs = Date.parse('2026-01-25T12:15:00Z');
    expect(await maintain({ retentionDays: { ...NEVER, candles: 10 } }).run()).toMatchObject({
      candles: 1,
    });
    expect((await changesOf('_system')).at(-1)).toMatchObject({
      entity: 'candle',
      operation: 'DELETE',
      ids: ['bybit:BTCUSDT:15m:2026-01-15T12:00:00Z'],
      count: 1,
      before: { until: '2026-01-15T12:15:00.000000Z' },
    });
    expect(await countOf('candles')).toBe(1);
  });

  it('deletes predictions with their horizons and logs their ids', async () => {
    const old = predictionItem({ predictedAt: '2026-01-15T12:00:00Z' });
    const young = predictionItem({ predictedAt: '2026-02-15T12:00:00Z' });
    await server.data(PREDICT, inputOf([old, young]));
    await server.data(PREDICT, inputOf([old], { account: 'second' }));
    nowMs = Date.parse('2026-02-15T12:00:00Z') + 7 * DAY_MS;
    expect(await maintain({ retentionDays: { ...NEVER, predictions: 7 } }).run()).toMatchObject({
      predictions: 2,
    });
    expect(await countOf('predictions')).toBe(1);
    expect(await countOf('prediction_horizons')).toBe(1);
    const [inserted, deleted] = await changesOf('second');
    expect(deleted).toMatchObject({
      entity: 'prediction',
      operation: 'DELETE',
      ids: inserted?.ids,
      actor: 'system',
    });
  });

  it('deletes old signals but none that is active', async () => {
    const active = await createSignal(server, { expiresAt: instantOf(nowMs + 300 * DAY_MS) });
    const expired = await createSignal(server);
    nowMs += 100 * DAY_MS;
    expect(await maintain({ retentionDays: { ...NEVER, signals: 99 } }).run()).toMatchObject({
      expiry: 1,
      signals: 1,
    });
    const rows = await server.sql`select id from signals`;
    expect(rows.map(({ id }) => id)).toEqual([rowIdOf(active.id)]);
    expect((await changesOf('main')).at(-1)?.ids).toEqual([rowIdOf(expired.id)]);
  });

  it('never deletes what the books are made of', async () => {
    await server.data(
      'mutation ($input: OpenPositionsInput!) { openPositions(input: $input) { counts { created } } }',
      inputOf([openItem()]),
    );
    nowMs += 10_000 * DAY_MS;
    const retentionDays = { signals: 1, predictions: 1, candles: 1, changes: 1 };
    await maintain({ retentionDays }).run();
    expect([await countOf('positions'), await countOf('trades')]).toEqual([1, 1]);
  });
});

describe('retention of the log', () => {
  const DAYS = 30;

  async function cutAt(instant: string) {
    nowMs = Date.parse(instant) + DAYS * DAY_MS;
    return maintain({ retentionDays: { ...NEVER, changes: DAYS } }).run();
  }

  /** As many changes, in operations of their own. */
  async function write(count: number): Promise<void> {
    for (let index = 0; index < count; index += 1) await put('counter', Math.random());
  }

  it('deletes the old beginning and says so in what is kept', async () => {
    await write(6);
    const rows = await changesOf('main');
    const cut = new Date(rows[3]?.at ?? 0).toISOString();
    const old = rows.filter(({ at }) => new Date(at).getTime() < Date.parse(cut));
    expect(await cutAt(cut)).toMatchObject({ changes: old.length });
    const kept = await changesOf('main');
    expect(kept.map(({ seq }) => Number(seq))).toEqual([1, 2, 3, 4, 5, 6, 7].slice(old.length));
    const [checkpoint] = await server.sql`
      select seq, encode(hash, 'hex') as hash from change_checkpoints`;
    expect(checkpoint?.seq).toBe(old.at(-1)?.seq);
    expect(kept.at(-1)).toMatchObject({
      entity: 'change',
      operation: 'DELETE',
      ids: [checkpoint?.seq],
      count: old.length,
      before: { seq: checkpoint?.seq, hash: checkpoint?.hash },
    });
    expect(await verify('main')).toEqual({
      accountId: 'main',
      checked: kept.length,
      head: '7',
      firstBad: null,
    });
  });

  it('always keeps the newest change, so that a reader knows where it is', async () => {
    await write(3);
    expect(await cutAt('2100-01-01T00:00:00Z')).toMatchObject({ changes: 2 });
    expect((await changesOf('main')).map(({ seq }) => Number(seq))).toEqual([3, 4]);
    expect(await verify('main')).toMatchObject({ checked: 2, firstBad: null });
  });

  it('goes on over more than a unit of work takes, with one chain', async () => {
    const items = many(MAINTENANCE_ROWS - 1, (value) => ({ key: `k${value}`, value }));
    await server.data(PUT, inputOf(items));
    await write(3);
    expect(await cutAt('2100-01-01T00:00:00Z')).toMatchObject({ changes: MAINTENANCE_ROWS + 2 });
    expect(await verify('main')).toMatchObject({ firstBad: null });
  });

  it('keeps the chain of the reserved account as well', async () => {
    for (const openTime of ['2026-01-15T12:00:00Z', '2026-01-15T12:15:00Z']) {
      await server.data(INGEST, { input: { items: [candleItem({ openTime })] } });
    }
    await cutAt('2100-01-01T00:00:00Z');
    expect(await verify('_system')).toMatchObject({ checked: 2, head: '3', firstBad: null });
  });

  it('does not hide rows that somebody else has deleted', async () => {
    await write(5);
    await cutAt('2100-01-01T00:00:00Z');
    await write(2);
    await server.sql`delete from changes where account_id = 'main' and seq = 5`;
    expect(await verify('main')).toMatchObject({ firstBad: { seq: '6' } });
  });

  it('does not believe a checkpoint that nobody has logged', async () => {
    await write(4);
    await server.sql`
      insert into change_checkpoints select account_id, seq, hash, at from changes where seq = 2`;
    await server.sql`delete from changes where seq <= 2`;
    expect(await verify('main')).toMatchObject({
      firstBad: { seq: '2', reason: expect.stringContaining('no change says') },
    });
  });
});
