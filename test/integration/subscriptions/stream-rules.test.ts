import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Context } from '../../../context.ts';
import type { ChangeRecorder } from '../../../datasources/change-recorder.ts';
import { uuidOf } from '../../../datasources/id.ts';
import type { Sql } from '../../../datasources/sql.ts';
import { changeEvents } from '../../../subscriptions/change.ts';
import type { ChangeFeed } from '../../../subscriptions/change-feed.ts';
import type { LogEvent } from '../../../subscriptions/log-stream.ts';
import { orderChanges } from '../../../subscriptions/order.ts';
import { predictionsLogged } from '../../../subscriptions/prediction.ts';
import { tradeExecutions } from '../../../subscriptions/trade.ts';
import type { TestClock } from '../../support/clock.ts';
import { createFeedClock, createTestFeed, makeContext, type TestFeed } from '../../support/feed.ts';
import { addAccount, commit, run, type Seqs } from '../../support/log.ts';

// What every stream over the log promises; the tests of positionChanges show it for that one.

type Event = Omit<LogEvent<unknown>, 'row'>;
type Stream = AsyncGenerator<Event, void, undefined>;

interface Kind {
  readonly name: string;
  /** With a filter that `write` of the same name passes; without one every change of its kind. */
  subscribe(context: Context, input: { account: string; after?: string }, only?: string): Stream;
  /** One change. */
  write(unit: Unit, symbol: string): Promise<void> | void;
}

interface Unit {
  readonly accountId: string;
  readonly recorder: ChangeRecorder;
  readonly sql: Sql;
}

const whereOf = (symbol: string | undefined) =>
  symbol === undefined ? {} : { where: { symbols: [symbol] } };

function recordRow(entity: string) {
  return ({ accountId, recorder }: Unit, symbol: string) => {
    const id = uuidOf(Date.now());
    const after = { accountId, id, symbol };
    recorder.record({ accountId, entity, operation: 'INSERT', ids: [id], before: null, after });
  };
}

async function logPrediction({ accountId, recorder, sql }: Unit, symbol: string): Promise<void> {
  const id = uuidOf(Date.now());
  await sql`
    insert into predictions (account_id, id, exchange, symbol, interval, model_version,
      predicted_at, signal, signal_confidence, created_at, item_hash)
    values (${accountId}, ${id}, 'bybit', ${symbol}, '15m', 'test', now(), 'LONG', 0.5, now(), '')`;
  recorder.record({
    accountId,
    entity: 'prediction',
    operation: 'INSERT',
    ids: [id],
    before: null,
    after: null,
  });
}

const KINDS: readonly Kind[] = [
  {
    name: 'orderChanges',
    subscribe: (context, input, only) => orderChanges(context, { ...input, ...whereOf(only) }),
    write: recordRow('order'),
  },
  {
    name: 'tradeExecutions',
    subscribe: (context, input, only) => tradeExecutions(context, { ...input, ...whereOf(only) }),
    write: recordRow('trade'),
  },
  {
    name: 'predictionsLogged',
    subscribe: (context, input, only) => predictionsLogged(context, { ...input, ...whereOf(only) }),
    write: logPrediction,
  },
  {
    name: 'changes',
    subscribe: (context, input, only) =>
      changeEvents(context, {
        ...input,
        ...(only === undefined ? {} : { where: { ids: [only] } }),
      }),
    write({ accountId, recorder }, symbol) {
      const ids = [symbol];
      recorder.record({
        accountId,
        entity: 'thing',
        operation: 'INSERT',
        ids,
        before: null,
        after: {},
      });
    },
  },
];

const HEARTBEAT_MS = 10_000;

let test: TestFeed;
let accounts = 0;
let accountId: string;

beforeAll(async () => {
  test = await createTestFeed();
  await run(test.database, (sql) => sql`select create_prediction_partitions(current_date)`);
});

afterAll(() => test.close());

beforeEach(async () => {
  accounts += 1;
  accountId = `rules-${accounts}`;
  await addAccount(test.database, accountId);
});

function write(kind: Kind, ...symbols: readonly string[]): Promise<Seqs> {
  return commit(test.database, async (_datasources, recorder, sql) => {
    for (const symbol of symbols) await kind.write({ accountId, recorder, sql }, symbol);
  });
}

function brief({ kind, seq, previousSeq }: Event) {
  return { kind, seq: Number(seq), previousSeq: previousSeq === null ? null : Number(previousSeq) };
}

describe.each(KINDS)('$name', (kind) => {
  const opened: Stream[] = [];
  let clock: TestClock;
  let feed: ChangeFeed;

  beforeEach(() => {
    clock = createFeedClock(test.database);
    feed = test.openFeed({ clock, ringLengthMax: 8 });
  });

  afterEach(async () => {
    for (const stream of opened.splice(0)) await stream.return();
    await feed.close();
  });

  function subscribe(
    input: { after?: string; only?: string; isCurrent?: () => boolean } = {},
  ): Stream {
    const { only, isCurrent, ...others } = input;
    const context = makeContext(test.database, feed, {
      heartbeatMs: HEARTBEAT_MS,
      ...(isCurrent === undefined ? {} : { isCurrent }),
    });
    const stream = kind.subscribe(context, { account: accountId, ...others }, only);
    opened.push(stream);
    return stream;
  }

  async function take(stream: Stream, count = 1): Promise<readonly Event[]> {
    const events: Event[] = [];
    while (events.length < count) {
      const result = await clock.passUntil(stream.next());
      if (result.done) throw new Error('the stream has ended');
      events.push(result.value);
    }
    return events;
  }

  it('chains what passes its filter, and says so in its heartbeats', async () => {
    const stream = subscribe({ only: 'A' });
    expect((await take(stream)).map(brief)).toEqual([
      { kind: 'CAUGHT_UP', seq: 0, previousSeq: null },
    ]);
    await write(kind, 'A', 'B', 'B', 'A', 'B');
    const events = await take(stream, 3);
    expect(events.map(brief)).toEqual([
      { kind: 'CHANGE', seq: 1, previousSeq: 0 },
      { kind: 'CHANGE', seq: 4, previousSeq: 1 },
      { kind: 'HEARTBEAT', seq: 5, previousSeq: 4 },
    ]);
    await write(kind, 'A');
    const after = events[2]?.cursor ?? '';
    expect((await take(subscribe({ after, only: 'A' }), 2)).map(brief)).toEqual([
      { kind: 'CHANGE', seq: 6, previousSeq: 5 },
      { kind: 'CAUGHT_UP', seq: 6, previousSeq: 6 },
    ]);
    expect((await take(stream)).map(brief)).toEqual([{ kind: 'CHANGE', seq: 6, previousSeq: 4 }]);
  });

  it('resumes after each cursor that it gave, with what came since', async () => {
    const stream = subscribe();
    const given = [...(await take(stream))];
    await write(kind, ...Array.from({ length: 12 }, (_none, index) => `S${index}`));
    given.push(...(await take(stream, 12)));
    for (const [place, { cursor }] of given.entries()) {
      const resumed = subscribe({ after: cursor });
      const seqs = Array.from({ length: 12 - place }, (_none, index) => place + index + 1);
      expect((await take(resumed, seqs.length + 1)).map(brief)).toEqual([
        ...seqs.map((seq) => ({ kind: 'CHANGE', seq, previousSeq: seq - 1 })),
        { kind: 'CAUGHT_UP', seq: 12, previousSeq: 12 },
      ]);
      await resumed.return();
    }
  });

  it('is reset when the database was restored meanwhile, and goes on', async () => {
    await write(kind, 'A');
    const stream = subscribe();
    await take(stream);
    await run(
      test.database,
      (sql) => sql`update account_heads set epoch = 'ffffffff' where account_id = ${accountId}`,
    );
    expect((await take(stream, 2)).map(brief)).toEqual([
      { kind: 'RESET', seq: 1, previousSeq: null },
      { kind: 'CAUGHT_UP', seq: 1, previousSeq: null },
    ]);
    await write(kind, 'A');
    const [event] = await take(stream);
    expect(event?.cursor).toMatch(/^ffffffff\.2\./);
    expect(event && brief(event)).toEqual({ kind: 'CHANGE', seq: 2, previousSeq: 1 });
  });

  it('is reset when it is so slow that changes it was not told of are gone', async () => {
    const stream = subscribe();
    await take(stream);
    for (let count = 0; count < 20; count += 1) await write(kind, 'A');
    await remove(15);
    expect((await take(stream, 2)).map(brief)).toEqual([
      { kind: 'RESET', seq: 20, previousSeq: null },
      { kind: 'CAUGHT_UP', seq: 20, previousSeq: null },
    ]);
  });

  it('is reset by a cursor before what is kept, and by none after that', async () => {
    const stream = subscribe();
    await take(stream);
    await write(kind, 'A', 'A', 'A', 'A');
    const events = await take(stream, 4);
    await stream.return();
    await remove(2);
    const lost = subscribe({ after: events[0]?.cursor ?? '' });
    expect((await take(lost, 2)).map(({ kind: of }) => of)).toEqual(['RESET', 'CAUGHT_UP']);
    const kept = subscribe({ after: events[2]?.cursor ?? '' });
    expect((await take(kept, 2)).map(brief)).toEqual([
      { kind: 'CHANGE', seq: 4, previousSeq: 3 },
      { kind: 'CAUGHT_UP', seq: 4, previousSeq: 4 },
    ]);
  });

  it('ends with its key', async () => {
    let isCurrent = true;
    const stream = subscribe({ isCurrent: () => isCurrent });
    await take(stream);
    await write(kind, 'A', 'A');
    await take(stream);
    isCurrent = false;
    await expect(take(stream)).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
    expect(feed.figures().subscriptions).toBe(0);
  });
});

async function remove(upTo: number): Promise<void> {
  await run(
    test.database,
    (sql) => sql`delete from changes where account_id = ${accountId} and seq <= ${upTo}`,
  );
}

const WRITERS = 4;
const UNITS = 25;

class Rollback extends Error {}

interface Following {
  readonly after: string;
  /** After so many it ends its stream and begins another. */
  readonly eventsMax: number;
  readonly only?: string;
  /** Where to end, once that is known. */
  readonly end: { seq: number };
}

describe.each(KINDS)('$name under load', (kind) => {
  it('tells each change once though it is begun again and connections are killed', async () => {
    const feed = test.openFeed({ ringLengthMax: 16, pollMs: 5 });
    const head = await makeContext(test.database, feed).datasources.changes.getHead(accountId);
    const begun = `${head.epoch}.0`;
    const common = { after: begun, end: { seq: Number.POSITIVE_INFINITY } };
    const readers = Promise.all([
      follow(feed, { ...common, eventsMax: 3 }),
      follow(feed, { ...common, eventsMax: 7, only: 'A' }),
      follow(feed, { ...common, eventsMax: Number.POSITIVE_INFINITY }),
    ]);
    const kills: Promise<unknown>[] = [];
    await Promise.all(
      Array.from({ length: WRITERS }, async (_none, writer) => {
        for (let unit = 0; unit < UNITS; unit += 1) {
          await writeSome(writer + unit);
          if (unit % 8 === writer) kills.push(kill());
        }
      }),
    );
    await Promise.all(kills);
    await write(kind, 'B', 'A');
    const log = await readSymbols();
    common.end.seq = log.length;
    expect(log.map(({ seq }) => seq)).toEqual(log.map((_row, index) => String(index + 1)));
    const [often, filtered, once] = await readers;
    const all = log.map(({ seq }) => seq);
    expect(often).toEqual(all);
    expect(once).toEqual(all);
    expect(filtered).toEqual(log.filter(({ symbol }) => symbol === 'A').map(({ seq }) => seq));
    await feed.close();
  });

  /** A unit of one to three changes; every fourth rolls back. */
  async function writeSome(number: number): Promise<void> {
    try {
      await commit(test.database, async (_datasources, recorder, sql) => {
        for (let count = 0; count <= number % 3; count += 1) {
          await kind.write({ accountId, recorder, sql }, (number + count) % 2 === 0 ? 'A' : 'B');
        }
        if (number % 4 === 3) throw new Rollback();
      });
    } catch (error) {
      if (!(error instanceof Rollback)) throw error;
    }
  }

  /** The seqs that a client is told that comes back after so many events, by its last cursor. */
  async function follow(
    feed: ChangeFeed,
    { after, eventsMax, only, end }: Following,
  ): Promise<readonly string[]> {
    const seqs: string[] = [];
    let cursor = after;
    let lastSeq = 0;
    for (;;) {
      const context = makeContext(test.database, feed, { heartbeatMs: 50 });
      const stream = kind.subscribe(context, { account: accountId, after: cursor }, only);
      let events = 0;
      for await (const event of stream) {
        const seq = Number(event.seq);
        if (event.kind === 'RESET') throw new Error(`reset at ${lastSeq}`);
        if (Number(event.previousSeq) > lastSeq) throw new Error(`a gap before ${seq}`);
        if (event.kind === 'CHANGE') seqs.push(event.seq);
        cursor = event.cursor;
        lastSeq = seq;
        events += 1;
        if (seq >= end.seq) return seqs;
        if (events >= eventsMax) break;
      }
    }
  }
});

async function readSymbols(): Promise<
  readonly { readonly seq: string; readonly symbol: string }[]
> {
  return run(
    test.database,
    (sql) => sql<{ seq: string; symbol: string }>`
      select c.seq, coalesce(c.after ->> 'symbol', p.symbol, c.ids[1]) as symbol
      from changes as c
      left join predictions as p on p.account_id = c.account_id and p.id::text = c.ids[1]
      where c.account_id = ${accountId} order by c.seq`,
  );
}

function kill(): Promise<unknown> {
  return run(
    test.database,
    (sql) => sql`
      select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database()
        and application_name in ('tradewind feed', 'tradewind interactive')`,
  );
}
