import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { inputOf } from '../support/documents.ts';
import { eventually } from '../support/eventually.ts';
import { HAS_REDIS, startTestRedis, type TestRedis } from '../support/redis.ts';
import { type SecondNode, startSecondNode } from '../support/second-node.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { connectSocket } from '../support/socket.ts';

const PUT = `mutation ($input: PutSettingsInput!) { putSettings(input: $input) { settings { key } } }`;
const LIST = '{ settings(account: "main", keys: ["count"]) { value } }';
const ORDERS = '{ orders(account: "main") { totalCount } }';

type Listed = { readonly settings: readonly { readonly value: number }[] };

/** Sets the one setting that is read; what the answer says of its commit, as it is sent back. */
async function put(server: TestServer, value: number): Promise<string> {
  const { extensions, errors } = await server.request(PUT, inputOf([{ key: 'count', value }]));
  expect(errors).toEqual([]);
  return (extensions.commit ?? []).map(({ account, seq }) => `${account}:${seq}`).join(',');
}

function countOf({ settings }: Listed): number {
  return settings[0]?.value ?? -1;
}

describe('a request that is repeated', () => {
  let server: TestServer;

  beforeAll(async () => {
    server = await startTestServer({ environment: { CACHE: 'on' } });
    await put(server, 0);
  });

  afterAll(() => server.stop());

  const read = async (query: string, options: object = {}) => server.request(query, {}, options);

  it('is answered without a statement, and says so', async () => {
    await eventually(async () => {
      await read(ORDERS);
      server.statements();
      const headers = { 'x-request-id': 'again' };
      const answer = await read(ORDERS, { headers });
      expect(answer.headers.get('x-cache')).toBe('hit');
      expect(answer.headers.get('x-request-id')).toBe('again');
      expect(answer.data).toEqual({ orders: { totalCount: 0 } });
      expect(answer.extensions.cache).toEqual({ hits: 2, misses: 0 });
      expect(server.statements()).toEqual([]);
    });
  });

  it('is counted by the name of its operation, with its hits', async () => {
    const named = `query Counted ${ORDERS}`;
    for (let times = 0; times < 4; times += 1) await read(named);
    const { health } = await server.data<{
      health: { cache: { operations: { name: string; hits: string; misses: string }[] } };
    }>('{ health { cache { operations { name hits misses hitRate } } } }');
    const counted = health.cache.operations.find(({ name }) => name === 'Counted');
    const { hits, misses } = counted ?? { hits: '0', misses: '0' };
    expect(Number(hits) + Number(misses)).toBe(8);
    expect(Number(hits)).toBeGreaterThan(0);
    expect(counted).toMatchObject({ hitRate: Number(hits) / 8 });
  });

  it('is answered anew after a write, by whoever asks next', async () => {
    for (let value = 1; value <= 20; value += 1) {
      await put(server, value);
      expect(countOf(await server.data<Listed>(LIST))).toBe(value);
      expect(countOf(await server.data<Listed>(LIST))).toBe(value);
    }
  });

  it('is answered as its own key may see it', async () => {
    const allowed = await server.issueKey('BOT', ['main']);
    const other = await server.issueKey('BOT', ['elsewhere']);
    const query = '{ changes(account: "main", first: 1) { nodes { seq } } }';
    const viewer = await server.issueKey('VIEWER', ['main']);
    await read(query, { key: allowed.token });
    expect((await read(query, { key: allowed.token })).errors).toEqual([]);
    for (const { token } of [other, viewer]) {
      const { errors, headers } = await read(query, { key: token });
      expect(errors[0]?.extensions.code).toBe('FORBIDDEN');
      expect(headers.get('x-cache')).not.toBe('hit');
    }
  });

  it('is refused at once when its key was revoked', async () => {
    const { id, token } = await server.issueKey('BOT', ['main']);
    for (let times = 0; times < 2; times += 1) await read(ORDERS, { key: token });
    await server.data('mutation ($id: ID!) { revokeApiKey(id: $id) }', { id });
    expect((await read(ORDERS, { key: token })).status).toBe(401);
  });

  it.each([
    ['the time', '{ exposure(account: "main") { openPositions } }'],
    ['who asks', '{ viewer { actor accounts { id } } }'],
    ['this process', '{ health { uptimeSeconds } orders(account: "main") { totalCount } }'],
  ])('is answered anew when its answer depends on %s', async (_what, query) => {
    for (let times = 0; times < 3; times += 1) {
      expect((await read(query)).headers.get('x-cache')).toBe('miss');
    }
  });

  it('is answered anew when it failed', async () => {
    const query = '{ orders(account: "main", first: 0) { totalCount } }';
    for (let times = 0; times < 2; times += 1) {
      const { errors, headers } = await read(query);
      expect(errors[0]?.extensions.code).toBe('BAD_INPUT');
      expect(headers.get('x-cache')).toBe('miss');
    }
  });

  it.each(['main', 'main:', 'main:x', ':1', 'main:1;main:2', 'MAIN:1', `main:${'9'.repeat(17)}`])(
    'is refused with a commit like %s',
    async (commit) => {
      const answer = await read(ORDERS, { headers: { 'x-min-commit': commit } });
      expect(answer.status).toBe(400);
      expect(answer.errors[0]?.extensions).toMatchObject({
        code: 'BAD_INPUT',
        path: ['headers', 'x-min-commit'],
      });
    },
  );

  it('is refused with a commit that there is not', async () => {
    const answer = await read(ORDERS, { headers: { 'x-min-commit': 'main:999999' } });
    expect(answer.errors[0]?.extensions).toMatchObject({ code: 'UNAVAILABLE', retryable: true });
    const { token } = await server.issueKey('BOT', ['main']);
    const headers = { 'x-min-commit': 'elsewhere:1' };
    const refused = await read(ORDERS, { headers, key: token });
    expect(refused.errors[0]?.extensions.code).toBe('FORBIDDEN');
    const unknown = await read(ORDERS, { headers: { 'x-min-commit': 'nobody:1' } });
    expect(unknown.errors[0]?.extensions.code).toBe('NOT_FOUND');
  });
});

describe.skipIf(!HAS_REDIS)('two nodes that share a Redis', () => {
  let redis: TestRedis;
  let server: TestServer;
  let other: SecondNode;

  beforeAll(async () => {
    redis = await startTestRedis();
    server = await startTestServer({ environment: { CACHE: 'on', REDIS_URL: redis.url } });
    other = await startSecondNode(server);
  });

  afterAll(async () => {
    redis.thaw();
    await other.stop();
    await server.stop();
    await redis.stop();
  });

  /** Writes on one node and reads on both, by documents that are kept and by ones that are new. */
  async function hunt(from: number, to: number): Promise<void> {
    for (let value = from; value < to; value += 1) {
      const headers = { 'x-min-commit': await put(server, value) };
      const answers = await Promise.all([
        server.request<Listed>(LIST),
        other.request<Listed>(LIST, {}, { headers }),
        other.request<Listed>(`${LIST} # ${value % 3}`, {}, { headers }),
      ]);
      for (const { data, errors } of answers) {
        expect(errors).toEqual([]);
        expect(data === null ? null : countOf(data)).toBe(value);
      }
    }
  }

  it('follow each other without being asked to, and never go back', async () => {
    const plain = async () => {
      const { data, errors } = await other.request<Listed>(LIST);
      expect(errors).toEqual([]);
      return data === null ? -1 : countOf(data);
    };
    for (let value = 100; value < 110; value += 1) {
      await put(server, value);
      if (value > 100) expect([value - 1, value]).toContain(await plain());
      await eventually(async () => expect(await plain()).toBe(value));
      // The result that both of them shared is the new one now.
      expect(countOf(await server.data<Listed>(LIST))).toBe(value);
      expect(await plain()).toBe(value);
    }
  });

  it('refuse a key that was revoked: its own node at once, the other one soon', async () => {
    const { id, token } = await server.issueKey('BOT', ['main']);
    const statusOn = async (node: Pick<TestServer, 'request'>) =>
      (await node.request(LIST, {}, { key: token })).status;
    await eventually(async () => expect(await statusOn(other)).toBe(200));
    expect(await statusOn(server)).toBe(200);
    await server.data('mutation ($id: ID!) { revokeApiKey(id: $id) }', { id });
    expect(await statusOn(server)).toBe(401);
    await eventually(async () => expect(await statusOn(other)).toBe(401));
  });

  it('never answer with less than was asked for, whatever becomes of Redis', async () => {
    await hunt(0, 30);
    const client = new Redis(redis.url);
    const flush = setInterval(() => client.flushall().catch(() => undefined), 5);
    await hunt(0, 30);
    clearInterval(flush);
    client.disconnect();
    redis.freeze();
    await hunt(30, 40);
    redis.thaw();
    await hunt(40, 50);
    await redis.kill();
    await hunt(50, 60);
    await redis.restart();
    await hunt(60, 90);
  });

  it('answer over WebSocket with what was asked for', async () => {
    const socket = await connectSocket({ ...server, url: other.tradewind.url });
    const minCommit = await put(server, 1000);
    socket.send({
      type: 'subscribe',
      id: '1',
      payload: { query: LIST, extensions: { minCommit } },
    });
    expect(await socket.next('1')).toMatchObject({
      payload: { data: { settings: [{ value: 1000 }] } },
    });
    const ahead = { query: LIST, extensions: { minCommit: [{ account: 'main', seq: '999999' }] } };
    socket.send({ type: 'subscribe', id: '2', payload: ahead });
    expect(JSON.stringify(await socket.next('2'))).toContain('UNAVAILABLE');
    socket.close();
  });

  it('say how their cache is', async () => {
    await eventually(async () => {
      const { health } = await server.data<{ health: { cache: object } }>(
        '{ health { cache { backend hits misses available } } }',
      );
      expect(health.cache).toMatchObject({ backend: 'redis', available: true });
    });
  });
});
