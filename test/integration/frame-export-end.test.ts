import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openExport, readAll } from '../support/export.ts';
import { eventually } from '../support/eventually.ts';
import { startProcess } from '../support/process.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

const ROWS = 300_000;
/** What a client leaves unread: far more than sockets hold. */
const PATH = 'trades?account=main';
const SAMPLE_BYTES = 10_000_000;

setFlagsFromString('--expose-gc');
const collectGarbage: () => void = runInNewContext('gc');

/** What is in use of the heap and of buffers. */
function measureMemory(): number {
  collectGarbage();
  // Buffers are freed beside the collection; the next one waits for that.
  collectGarbage();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer({ environment: { ANALYTICS_SLOTS: '2' } });
  await makeTrades(server);
});

afterAll(() => server.stop());

async function makeTrades({ sql }: TestServer): Promise<void> {
  await sql`
    insert into trades (account_id, id, exchange, symbol, side, price, quantity, strategy,
      executed_at, position_id)
    select 'main', ('018cc251-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'bybit',
      'BTCUSDT', 'BUY', n, 1, left(repeat(md5(n::text), 10), 100), now(), gen_random_uuid()
    from generate_series(1, ${ROWS}::int) as n`;
}

/** Resolves when the connections of exports are free again. */
function untilFree({ tradewind } = server): Promise<void> {
  return eventually(() => expect(tradewind.database.analytics.figures().busy).toBe(0));
}

function killExports(): Promise<unknown> {
  return server.sql`
    select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and application_name = 'tradewind analytics'`;
}

describe('an export of many rows', () => {
  it('takes the memory of a few of them', async () => {
    const before = measureMemory();
    const response = await openExport(server, PATH);
    let [bytes, measuredAt, most] = [0, 0, 0];
    for await (const chunk of response) {
      bytes += chunk.length;
      if (bytes - measuredAt < SAMPLE_BYTES) continue;
      measuredAt = bytes;
      most = Math.max(most, measureMemory() - before);
    }
    expect(bytes).toBeGreaterThan(100_000_000);
    expect(most).toBeLessThan(16_000_000);
    await untilFree();
  });

  it('leaves a connection to frames: one more at once is refused', async () => {
    const first = await openExport(server, PATH);
    const second = await openExport(server, PATH);
    const { errors } = JSON.parse(await readAll(second));
    expect(second.statusCode).toBe(503);
    expect(second.headers['retry-after']).toBe('5');
    expect(errors[0].extensions).toMatchObject({ code: 'OVERLOADED', retryable: true });
    await server.data('{ tradeFrame(account: "main", limit: 1) { price } }');
    first.destroy();
    await untilFree();
    const third = await openExport(server, PATH);
    expect(third.statusCode).toBe(200);
    third.destroy();
    await untilFree();
  });

  it('ends its statement when its client goes before the first row', async () => {
    const locker = server.connect();
    await locker.unsafe('begin');
    await locker.unsafe('lock table trades in access exclusive mode');
    const gone = new AbortController();
    const { url, key } = server;
    const asked = fetch(`${url}/export/${PATH}`, {
      headers: { authorization: `Bearer ${key}` },
      signal: gone.signal,
    });
    await server.untilBlocked(1);
    gone.abort();
    await expect(asked).rejects.toThrow();
    await untilFree();
    await eventually(async () => {
      const waiting = await server.sql`
        select pid from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'`;
      expect(waiting).toHaveLength(0);
    });
    await locker.unsafe('rollback');
  });

  it('breaks off when its connection to the database is killed', async () => {
    const response = await openExport(server, PATH);
    await killExports();
    await expect(readAll(response)).rejects.toThrow();
    await untilFree();
  });

  it('breaks off at its deadline while its client takes nothing', async () => {
    const response = await openExport(server, PATH, { 'x-deadline-ms': '1500' });
    await untilFree();
    await expect(readAll(response)).rejects.toThrow();
  });

  it.each(['identity', 'gzip'])(
    'breaks off, %s, when its client takes nothing',
    async (encoding) => {
      const impatient = await startTestServer({ environment: { EXPORT_STALL_MS: '500' } });
      await makeTrades(impatient);
      const response = await openExport(impatient, PATH, { 'accept-encoding': encoding });
      await untilFree(impatient);
      await expect(readAll(response)).rejects.toThrow();
      await impatient.stop();
    },
  );
});

describe('tradewind export', () => {
  let folder: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tw-export-'));
  });

  afterAll(() => rm(folder, { recursive: true, force: true }));

  function run(...args: readonly string[]) {
    const common = ['--url', server.url, '--key', server.key, '--account', 'main'];
    return startProcess({ TRADEWIND_HOME: folder }, 'export', ...args, ...common);
  }

  it('writes a file once it is complete', async () => {
    const out = join(folder, 'prices.csv');
    const { ended, output } = run('trades', '--format', 'csv', '--columns', 'price', '--out', out);
    expect([await ended, output.stderr]).toEqual([[0, null], '']);
    const lines = (await readFile(out, 'utf8')).split('\n');
    expect(lines.slice(0, 3)).toEqual(['price', '1', '2']);
    expect(lines).toHaveLength(ROWS + 2);
  });

  it('writes to standard output what a filter finds', async () => {
    const where = JSON.stringify({ symbols: ['NOWHERE'] });
    const { ended, output } = run('trades', '--format', 'csv', '--where', where);
    expect([await ended, output.stdout.split(',')[0]]).toEqual([[0, null], 'id']);
  });

  it('leaves no file and says so when it breaks off', async () => {
    const { ended, output } = run('trades', '--out', join(folder, 'broken.ndjson'));
    await eventually(async () => expect(await readdir(folder)).toContain('broken.ndjson.part'));
    await killExports();
    expect(await ended).toEqual([1, null]);
    expect(output.stderr).toMatch(/^The export broke off before its end: .*\n$/);
    expect(await readdir(folder)).not.toContain('broken.ndjson');
    expect(await readdir(folder)).not.toContain('broken.ndjson.part');
  });

  it('says in a sentence why it was refused', async () => {
    const { ended, output } = run('orders');
    expect(await ended).toEqual([1, null]);
    expect(output.stderr).toMatch(
      /^The server refused the export: There is no frame "orders".*\n$/,
    );
  });
});
