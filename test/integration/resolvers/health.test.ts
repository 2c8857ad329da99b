import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { inputOf, OPEN } from '../../support/documents.ts';
import { eventually } from '../../support/eventually.ts';
import { openItem } from '../../support/make.ts';
import { startTestServer, type TestServer } from '../../support/server.ts';
import { openSocket, type TestSocket } from '../../support/socket.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.stop());

const FIELDS = `status reasons at uptimeSeconds node
  pools { name size busy idle waiting usagePercentage acquireMsP95 }
  queries { total errors perSecond successRate errorRate msMean msP50 msP95 msP99 slow retries }
  cache { backend hits misses hitRate entries available }
  breakers { name state failures opens openedAt retryAfterMs }
  feed { subscriptions sockets deliveredPerSecond lagMs }
  process { rssBytes heapUsedBytes eventLoopMsP99 }
  replicas { name lagMs available }`;

const HEALTH = `{ health { ${FIELDS} } }`;

interface Health {
  readonly status: string;
  readonly reasons: readonly string[];
  readonly pools: readonly {
    readonly name: string;
    readonly size: number;
    readonly idle: number;
  }[];
  readonly queries: { readonly total: string; readonly errors: string; readonly msP50: number };
  readonly breakers: readonly { readonly name: string; readonly state: string }[];
  readonly feed: { readonly subscriptions: number; readonly sockets: number };
}

async function health(): Promise<Health> {
  return (await server.data<{ health: Health }>(HEALTH)).health;
}

async function openStream(query: string, id = '1'): Promise<TestSocket> {
  const socket = await openSocket(server);
  const payload = { authorization: `Bearer ${server.key}` };
  socket.send({ type: 'connection_init', payload });
  await socket.next();
  socket.send({ type: 'subscribe', id, payload: { query } });
  return socket;
}

describe('health', () => {
  it('is HEALTHY for a server that does nothing, with every figure', async () => {
    const found = await health();
    expect(found).toMatchObject({
      status: 'HEALTHY',
      reasons: [],
      at: expect.stringMatching(/^20\d\d-/),
      uptimeSeconds: expect.any(Number),
      node: expect.stringMatching(/:\d+$/),
      feed: { subscriptions: 0, sockets: 0, deliveredPerSecond: 0 },
      process: { rssBytes: expect.stringMatching(/^\d{7,}$/) },
      replicas: [],
    });
    expect(found.pools.map(({ name }) => name)).toEqual([
      'trading',
      'interactive',
      'analytics',
      'feed',
    ]);
    for (const pool of found.pools) expect(pool).toMatchObject({ busy: 0, waiting: 0 });
    expect(found.breakers).toHaveLength(4);
    for (const breaker of found.breakers) {
      expect(breaker).toMatchObject({ state: 'CLOSED', openedAt: null, retryAfterMs: null });
    }
  });

  it('counts statements and those that fail', async () => {
    const before = await health();
    await server.data(OPEN, inputOf([openItem()]));
    const after = await health();
    expect(Number(after.queries.total)).toBeGreaterThan(Number(before.queries.total));
    expect(after.queries.errors).toBe(before.queries.errors);
    expect(after.queries.msP50).toBeGreaterThan(0);
  });

  it('counts sockets and subscriptions until they are gone', async () => {
    const socket = await openStream('subscription { positionChanges(account: "main") { kind } }');
    await socket.next('1');
    expect((await health()).feed).toMatchObject({ sockets: 1, subscriptions: 1 });
    socket.close();
    await eventually(async () => {
      expect((await health()).feed).toMatchObject({ sockets: 0, subscriptions: 0 });
    });
  });

  it('is UNHEALTHY when the database is away', async () => {
    const other = await startTestServer({ withChaos: true });
    try {
      await other.chaos?.close();
      await eventually(async () => {
        await other.request('{ positions(account: "main") { nodes { id } } }');
        const { health: found } = await other.data<{ health: Health }>(HEALTH);
        expect(found.status).toBe('UNHEALTHY');
        expect(found.reasons).toContain('The breaker of interactive is OPEN.');
      });
    } finally {
      await other.stop();
    }
  });

  it('is refused without a key', async () => {
    const { errors } = await server.request(HEALTH, {}, { key: null });
    expect(errors[0]?.extensions.code).toBe('UNAUTHENTICATED');
  });
});

describe('healthMetrics', () => {
  it('comes at once and again after each interval', async () => {
    const socket = await openStream(
      `subscription { healthMetrics(intervalMs: 100) { ${FIELDS} } }`,
    );
    for (let round = 0; round < 3; round += 1) {
      expect(await socket.next('1')).toMatchObject({
        type: 'next',
        payload: { data: { healthMetrics: { node: expect.any(String) } } },
      });
    }
    socket.close();
  });

  it.each([99, 60_001])('is refused with an interval of %i ms', async (intervalMs) => {
    const socket = await openStream(
      `subscription { healthMetrics(intervalMs: ${intervalMs}) { status } }`,
    );
    expect(await socket.next('1')).toMatchObject({
      payload: { errors: [{ extensions: { code: 'BAD_INPUT', path: ['intervalMs'] } }] },
    });
    socket.close();
  });

  it('ends when its key is revoked', async () => {
    const { token, id } = await server.issueKey('VIEWER', ['main']);
    const socket = await openSocket(server);
    socket.send({ type: 'connection_init', payload: { authorization: `Bearer ${token}` } });
    await socket.next();
    const query = 'subscription { healthMetrics(intervalMs: 100) { status } }';
    socket.send({ type: 'subscribe', id: '1', payload: { query } });
    await socket.next('1');
    await server.data('mutation ($id: ID!) { revokeApiKey(id: $id) }', { id });
    await eventually(async () => {
      const message = await socket.next('1').catch(() => ({ type: 'closed' }));
      expect(['error', 'closed']).toContain(message.type);
    });
    socket.close();
  });
});

describe('statementStats', () => {
  const STATS = `query ($orderBy: StatementOrder) { statementStats(orderBy: $orderBy, first: 500) {
    name calls errors rows msTotal msMean msP50 msP95 msP99 msMax cacheHitRate } }`;

  interface Stats {
    readonly name: string;
    readonly calls: string;
    readonly msTotal: number;
    readonly msMean: number;
  }

  async function stats(orderBy: string): Promise<readonly Stats[]> {
    const data = await server.data<{ statementStats: Stats[] }>(STATS, { orderBy });
    return data.statementStats;
  }

  it('counts each statement by its name', async () => {
    const callsOf = (all: readonly Stats[]) =>
      Number(all.find(({ name }) => name === 'positions.insertMany')?.calls ?? 0);
    const before = callsOf(await stats('TOTAL_TIME'));
    await server.data(OPEN, inputOf([openItem()]));
    expect(callsOf(await stats('TOTAL_TIME'))).toBe(before + 1);
  });

  it('is in the order that is asked for', async () => {
    const descending = (values: readonly number[]) =>
      values.every((value, index) => index === 0 || value <= (values[index - 1] ?? 0));
    expect(descending((await stats('TOTAL_TIME')).map(({ msTotal }) => msTotal))).toBe(true);
    expect(descending((await stats('MEAN_TIME')).map(({ msMean }) => msMean))).toBe(true);
    expect(descending((await stats('CALLS')).map(({ calls }) => Number(calls)))).toBe(true);
  });

  it.each(['statementStats', 'slowStatements'])('%s takes 1 to 500 rows', async (field) => {
    for (const [first, isTaken] of [
      [0, false],
      [1, true],
      [500, true],
      [501, false],
    ] as const) {
      const { errors } = await server.request(`{ ${field}(first: ${first}) { name } }`);
      expect(errors === undefined || errors.length === 0).toBe(isTaken);
    }
  });

  it('is for those who run the server', async () => {
    for (const [role, isAllowed] of [
      ['VIEWER', false],
      ['BOT', false],
      ['OPERATOR', true],
    ] as const) {
      const { token: key } = await server.issueKey(role, ['main']);
      const { errors } = await server.request(
        '{ slowStatements { name ms at rows } }',
        {},
        { key },
      );
      expect(errors?.[0]?.extensions.code).toBe(isAllowed ? undefined : 'FORBIDDEN');
    }
  });
});
