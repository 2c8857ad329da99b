import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest';
import type { Context } from '../../context.ts';
import { instantOf } from '../../datasources/instant.ts';
import type { Position } from '../../datasources/position.ts';
import type { ChangeFeed } from '../../subscriptions/change-feed.ts';
import {
  type PositionChangesInput,
  type PositionEvent,
  positionChanges,
} from '../../subscriptions/position.ts';
import type { TestClock } from './clock.ts';
import { createFeedClock, createTestFeed, makeContext, type TestFeed } from './feed.ts';
import { addAccount, commit } from './log.ts';
import { makePosition } from './positions.ts';

export const HEARTBEAT_MS = 10_000;

export type PositionStream = AsyncGenerator<PositionEvent, void, undefined>;

/** What a client checks to know that it missed nothing. */
export function brief({ kind, seq, previousSeq }: PositionEvent) {
  return { kind, seq, previousSeq };
}

/** For the tests of one file: a database, and for each test an account, a clock and a feed. */
export function usePositionStreams() {
  const opened = new Set<PositionStream>();
  let test: TestFeed;
  let clock: TestClock;
  let feed: ChangeFeed;
  let context: Context;
  let accounts = 0;
  let marked = 0;

  beforeAll(async () => {
    test = await createTestFeed();
  });

  afterAll(() => test.close());

  beforeEach(async () => {
    accounts += 1;
    await addAccount(test.database, `account-${accounts}`);
    clock = createFeedClock(test.database);
    feed = test.openFeed({ clock, ringLengthMax: 8 });
    context = makeContext(test.database, feed, { heartbeatMs: HEARTBEAT_MS });
  });

  afterEach(async () => {
    await Promise.all([...opened].map((stream) => stream.return()));
    opened.clear();
    await feed.close();
  });

  const accountId = () => `account-${accounts}`;

  /** The next event, with the clock moved on for as long as it takes. */
  async function take(stream: PositionStream): Promise<PositionEvent> {
    const result = await clock.passUntil(stream.next());
    if (result.done) throw new Error('the stream has ended');
    return result.value;
  }

  return {
    get database() {
      return test.database;
    },
    get clock() {
      return clock;
    },
    get feed() {
      return feed;
    },
    get context() {
      return context;
    },
    get accountId() {
      return accountId();
    },
    makeContext: (changes: Parameters<typeof makeContext>[2]) =>
      makeContext(test.database, feed, { heartbeatMs: HEARTBEAT_MS, ...changes }),
    subscribe(input: PositionChangesInput = {}, of: Context = context): PositionStream {
      const stream = positionChanges(of, { account: accountId(), ...input });
      opened.add(stream);
      return stream;
    },
    take,
    async takeMany(stream: PositionStream, count: number): Promise<readonly PositionEvent[]> {
      const taken: PositionEvent[] = [];
      while (taken.length < count) taken.push(await take(stream));
      return taken;
    },
    make: (changes: Partial<Position> = {}) => makePosition({ accountId: accountId(), ...changes }),
    /** Opens them in one transaction, one change each. */
    async open(...positions: readonly Position[]): Promise<void> {
      const items = positions.map((one) => ({ ...one, clientId: null, itemHash: null }));
      await commit(test.database, async (datasources) => {
        await datasources.positions.insertMany(accountId(), items);
      });
    },
    /** One change, as a call of markPrices writes it; a price for each symbol. */
    async mark(prices: Readonly<Record<string, string>>): Promise<void> {
      marked += 1;
      const at = instantOf(marked);
      const marks = Object.entries(prices).map(([symbol, price]) => ({
        exchange: 'bybit',
        symbol,
        price,
        at,
      }));
      await commit(test.database, async (datasources) => {
        await datasources.marks.upsertMany(accountId(), marks);
      });
    },
    async update(before: Position, after: Position): Promise<Position> {
      await commit(test.database, async (datasources) => {
        await datasources.positions.updateMany(accountId(), [{ before, next: after }]);
      });
      return after;
    },
  };
}
