import { describe, expect, it } from 'vitest';
import { createHoldings } from '../../key-usage.ts';
import { createRateLimiter, STREAMS_PER_KEY_MAX } from '../../rate-limit.ts';
import { ACTOR } from '../support/feed.ts';

const OTHER = { ...ACTOR, name: 'key:other' };
const LIMITS = {
  unitsPerSecond: 10,
  unitsBurst: 100,
  operationsPerKeyMax: 3,
  socketsPerKeyMax: 2,
  socketsMax: 3,
};

function create(limits: Partial<typeof LIMITS> = {}) {
  const clock = { nowMs: 0 };
  return { clock, limiter: createRateLimiter({ ...LIMITS, ...limits }, () => clock.nowMs, true) };
}

const LIMITED = (retryAfterMs: number) =>
  expect.objectContaining({
    code: 'RATE_LIMITED',
    isRetryable: true,
    executed: 'NO',
    retryAfterMs,
  });

describe('the units of a key', () => {
  it('are spent by each operation and by what it costs', () => {
    const { limiter } = create();
    limiter.admit(ACTOR)();
    limiter.charge(ACTOR, 98);
    limiter.admit(ACTOR)();
    expect(() => limiter.admit(ACTOR)).toThrow(LIMITED(100));
    limiter.admit(OTHER)();
  });

  it('come back with time, up to what may be saved', () => {
    const { limiter, clock } = create();
    limiter.charge(ACTOR, 100);
    clock.nowMs = 50;
    expect(() => limiter.admit(ACTOR)).toThrow(LIMITED(50));
    clock.nowMs = 100;
    limiter.admit(ACTOR)();
    clock.nowMs = 3_600_000;
    limiter.charge(ACTOR, 99);
    limiter.admit(ACTOR)();
    expect(() => limiter.admit(ACTOR)).toThrow(LIMITED(100));
  });

  it('may be owed: what follows waits until they are paid', () => {
    const { limiter, clock } = create();
    limiter.charge(ACTOR, 150);
    expect(() => limiter.admit(ACTOR)).toThrow(LIMITED(5100));
    clock.nowMs = 5100;
    limiter.admit(ACTOR)();
  });
});

it('lets a key have so many operations under way, and the next once one has ended', () => {
  const { limiter } = create();
  const releases = [limiter.admit(ACTOR), limiter.admit(ACTOR), limiter.admit(ACTOR)];
  expect(() => limiter.admit(ACTOR)).toThrow(LIMITED(1000));
  limiter.admit(OTHER);
  releases[0]?.();
  releases[0]?.();
  limiter.admit(ACTOR);
  expect(() => limiter.admit(ACTOR)).toThrow(LIMITED(1000));
});

it('lets a key have so many sockets, and all keys together', () => {
  const { limiter } = create();
  const release = limiter.ownSocket(ACTOR);
  limiter.ownSocket(ACTOR);
  expect(() => limiter.ownSocket(ACTOR)).toThrow(LIMITED(1000));
  limiter.ownSocket(OTHER);
  release();
  limiter.ownSocket(ACTOR);
  const opened = [limiter.openSocket(), limiter.openSocket(), limiter.openSocket()];
  expect(() => limiter.openSocket()).toThrow(expect.objectContaining({ code: 'OVERLOADED' }));
  opened[0]?.();
  limiter.openSocket();
});

it('lets a key have so many subscriptions', () => {
  const { limiter } = create();
  const releases = Array.from({ length: STREAMS_PER_KEY_MAX }, () => limiter.openStream(ACTOR));
  expect(() => limiter.openStream(ACTOR)).toThrow(LIMITED(1000));
  releases[0]?.();
  limiter.openStream(ACTOR);
});

it('forgets keys that are idle, and none that owes or holds something', () => {
  const { limiter, clock } = create({ unitsBurst: 2, unitsPerSecond: 1 });
  limiter.charge(ACTOR, 100_000);
  const release = limiter.ownSocket(OTHER);
  for (let place = 0; place < 25_000; place += 1) {
    clock.nowMs += 1;
    limiter.admit({ ...ACTOR, name: `key:${place}` })();
  }
  expect(() => limiter.admit(ACTOR)).toThrow(expect.objectContaining({ code: 'RATE_LIMITED' }));
  limiter.ownSocket(OTHER);
  expect(() => limiter.ownSocket(OTHER)).toThrow(LIMITED(1000));
  release();
  limiter.ownSocket(OTHER);
});

describe('several processes', () => {
  it('spend the units of a key together', () => {
    const here = create().limiter;
    const { limiter: there, clock } = create();
    here.admit(ACTOR)();
    here.charge(ACTOR, 98);
    there.hear(1, here.report());
    there.admit(ACTOR)();
    expect(() => there.admit(ACTOR)).toThrow(LIMITED(100));
    expect(here.report()).toEqual([]);
    clock.nowMs = 100;
    there.admit(ACTOR)();
  });

  it('count what a key has open together, until it ends or its process does', () => {
    const here = create().limiter;
    const there = create().limiter;
    const releases = [here.admit(ACTOR), here.admit(ACTOR)];
    here.ownSocket(ACTOR);
    here.ownSocket(ACTOR);
    here.openSocket();
    here.openSocket();
    there.hear(1, here.report());
    const last = there.admit(ACTOR);
    expect(() => there.admit(ACTOR)).toThrow(LIMITED(1000));
    expect(() => there.ownSocket(ACTOR)).toThrow(LIMITED(1000));
    there.openSocket();
    expect(() => there.openSocket()).toThrow(expect.objectContaining({ code: 'OVERLOADED' }));
    for (const release of releases) release();
    there.hear(1, here.report());
    there.admit(ACTOR);
    there.admit(ACTOR);
    last();
    there.forget(1);
    there.ownSocket(ACTOR);
    there.openSocket();
    there.openSocket();
    expect(() => there.openSocket()).toThrow(expect.objectContaining({ code: 'OVERLOADED' }));
  });

  it('tell one that comes later what they hold, and not what was spent before', () => {
    const here = create().limiter;
    here.admit(ACTOR)();
    here.ownSocket(ACTOR);
    here.ownSocket(ACTOR);
    const holdings = createHoldings();
    holdings.add(1, here.report());
    const late = create().limiter;
    for (const [from, report] of holdings.all()) late.hear(from, report);
    expect(() => late.ownSocket(ACTOR)).toThrow(LIMITED(1000));
    late.charge(ACTOR, 99);
    late.admit(ACTOR)();
    expect(() => late.admit(ACTOR)).toThrow(LIMITED(100));
  });
});
