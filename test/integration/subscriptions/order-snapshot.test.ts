import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { ChangeFeed } from '../../../subscriptions/change-feed.ts';
import { type OrderEvent, orderChanges } from '../../../subscriptions/order.ts';
import { SNAPSHOT_ROWS_MAX } from '../../../subscriptions/snapshot.ts';
import { createTestFeed, makeContext, type TestFeed } from '../../support/feed.ts';
import { addAccount, append, makeChange, run } from '../../support/log.ts';

type Stream = AsyncGenerator<OrderEvent, void, undefined>;

const opened: Stream[] = [];
let test: TestFeed;
let feed: ChangeFeed;
let accounts = 0;
let accountId: string;

beforeAll(async () => {
  test = await createTestFeed();
});

beforeEach(async () => {
  accounts += 1;
  accountId = `orders-${accounts}`;
  await addAccount(test.database, accountId);
  feed = test.openFeed({ ringLengthMax: 8, pollMs: 5 });
});

afterEach(async () => {
  for (const stream of opened.splice(0)) await stream.return();
  await feed.close();
});

afterAll(() => test.close());

function subscribe(input: { after?: string } = {}): Stream {
  const context = makeContext(test.database, feed);
  const where = { status: ['OPEN'] } as const;
  const stream = orderChanges(context, { account: accountId, where, snapshot: true, ...input });
  opened.push(stream);
  return stream;
}

async function take(stream: Stream, count: number): Promise<readonly OrderEvent[]> {
  const events: OrderEvent[] = [];
  while (events.length < count) {
    const result = await stream.next();
    if (result.done) throw new Error('the stream has ended');
    events.push(result.value);
  }
  return events;
}

const kindsOf = (events: readonly OrderEvent[]) => events.map(({ kind }) => kind);

/** Orders that the log knows nothing of. */
async function insertMany(status: string, count: number): Promise<void> {
  await run(
    test.database,
    (sql) => sql`
      insert into orders (account_id, id, exchange, symbol, side, type, time_in_force, status,
        price, quantity, leverage, reduce_only, position_side, client_order_id, created_at,
        updated_at, closed_at, item_hash)
      select ${accountId}, gen_random_uuid(), 'bybit', 'BTCUSDT', 'BUY', 'LIMIT', 'GTC',
        ${status}::text, 100, 1, 1, false, 'LONG', gen_random_uuid()::text, now(), now(),
        case when ${status}::text = 'OPEN' then null else now() end, ''
      from generate_series(1, ${count}::int)`,
  );
}

describe('a snapshot of orders', () => {
  it('of which only a part was received is begun anew', async () => {
    await insertMany('OPEN', 2);
    await insertMany('CANCELED', 1);
    const [first] = await take(subscribe(), 1);
    expect(first).toMatchObject({ kind: 'SNAPSHOT', order: { status: 'OPEN' } });
    const again = await take(subscribe({ after: first?.cursor ?? '' }), 4);
    expect(kindsOf(again)).toEqual(['RESET', 'SNAPSHOT', 'SNAPSHOT', 'CAUGHT_UP']);
    const after = again.at(-1)?.cursor ?? '';
    expect(kindsOf(await take(subscribe({ after }), 1))).toEqual(['CAUGHT_UP']);
  });

  it('comes after RESET when the place of a cursor is gone', async () => {
    await insertMany('OPEN', 1);
    const { cursor } = (await take(subscribe(), 2))[1] ?? { cursor: '' };
    await append(
      test.database,
      ...Array.from({ length: 4 }, () => makeChange({ accountId, entity: 'thing' })),
    );
    await run(
      test.database,
      (sql) => sql`delete from changes where account_id = ${accountId} and seq <= 2`,
    );
    const events = await take(subscribe({ after: cursor }), 3);
    expect(kindsOf(events)).toEqual(['RESET', 'SNAPSHOT', 'CAUGHT_UP']);
    expect(events.map(({ seq }) => seq)).toEqual(['4', '4', '4']);
  });

  it('comes after RESET when the database was restored under a stream', async () => {
    await insertMany('OPEN', 1);
    const stream = subscribe();
    await take(stream, 2);
    await insertMany('OPEN', 1);
    await run(
      test.database,
      (sql) => sql`update account_heads set epoch = 'ffffffff' where account_id = ${accountId}`,
    );
    const events = await take(stream, 4);
    expect(kindsOf(events)).toEqual(['RESET', 'SNAPSHOT', 'SNAPSHOT', 'CAUGHT_UP']);
    expect(events.at(-1)?.cursor).toMatch(/^ffffffff\.0/);
  });

  it('of too many rows is refused, at the bound it is not', async () => {
    await insertMany('OPEN', SNAPSHOT_ROWS_MAX);
    const events = await take(subscribe(), SNAPSHOT_ROWS_MAX + 1);
    expect(events.at(-1)?.kind).toBe('CAUGHT_UP');
    await insertMany('OPEN', 1);
    await expect(take(subscribe(), 1)).rejects.toMatchObject({ code: 'QUERY_TOO_EXPENSIVE' });
  });
});
