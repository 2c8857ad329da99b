import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { refusalOf } from '../support/documents.ts';
import type { RequestOptions } from '../support/server.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let locker: ReturnType<TestServer['connect']>;

beforeAll(async () => {
  const environment = { DEADLINE_MS: '600', ANALYTICS_DEADLINE_MS: '600' };
  server = await startTestServer({ environment });
  locker = server.connect();
});

afterEach(() => locker.unsafe('rollback'));
afterAll(() => server.stop());

const PATIENT = { headers: { 'x-deadline-ms': '60000' } };

/** Until the end of the test no statement on it ends. */
async function stall(table: string): Promise<void> {
  await locker.unsafe('begin');
  await locker.unsafe(`lock table ${table} in access exclusive mode`);
}

async function codeOf(query: string, options: RequestOptions = {}): Promise<string> {
  const { data, errors } = await server.request<Record<string, unknown>>(query, {}, options);
  expect(errors).toHaveLength(1);
  expect(Object.values(data ?? {})).toEqual([null]);
  expect(errors[0]?.extensions.executed).toBe('NO');
  return errors[0]?.extensions.code ?? '';
}

describe('a read that does not end', () => {
  it.each([
    ['positions', '{ positions(account: "main") { nodes { id } } }'],
    ['orders', '{ orders(account: "main") { totalCount } }'],
    ['changes', '{ changes(account: "main") { nodes { seq } } }'],
    ['marks', '{ exposure(account: "main") { openPositions } }'],
    ['positions', '{ tradingPerformance(account: "main") { netPnl } }'],
    ['trades', '{ pnlSeries(account: "main", bucket: { size: "1d" }) { maxDrawdown } }'],
  ])('over %s is too expensive, and the next one is answered', async (table, query) => {
    // With its connection open, the statement itself is what the time goes to.
    await server.data(query, {}, PATIENT);
    await stall(table);
    expect(await codeOf(query)).toBe('QUERY_TOO_EXPENSIVE');
    await locker.unsafe('rollback');
    await server.data(query, {}, PATIENT);
  });

  it('is the client’s own affair when it said how long it waits', async () => {
    await stall('positions');
    const headers = { 'x-deadline-ms': '50' };
    const query = '{ positions(account: "main") { nodes { id } } }';
    expect(await codeOf(query, { headers })).toBe('DEADLINE_EXCEEDED');
  });
});

describe('the analytics lane', () => {
  it('holds up no page, however long its statements take', async () => {
    await stall('marks');
    const aggregates = Array.from({ length: 3 }, () =>
      server.request('{ exposure(account: "main") { openPositions } }', {}, PATIENT),
    );
    // More of them than the lane has slots: the page does not wait in their queue.
    await server.untilBlocked(2);
    await server.data('{ positions(account: "main") { nodes { id } } }', {}, PATIENT);
    await locker.unsafe('rollback');
    for (const { errors } of await Promise.all(aggregates)) expect(errors).toEqual([]);
  });
});

describe('a write that waits for others', () => {
  it('may be sent again', async () => {
    await stall('marks');
    const answer = await server.request(
      `mutation {
        markPrices(input: { account: "main", items: [
          { exchange: "bybit", symbol: "BTCUSDT", price: "1" }
        ] }) { updated }
      }`,
    );
    expect(refusalOf(answer).extensions).toMatchObject({
      code: 'DEADLINE_EXCEEDED',
      retryable: true,
    });
  });
});
