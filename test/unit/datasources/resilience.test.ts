import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createBreaker, createRetryBudget, withRetry } from '../../../datasources/resilience.ts';
import { AppError } from '../../../errors.ts';
import { makeCall } from '../../support/call.ts';

class Lost extends Error {}
class Refused extends Error {}

const isLost = (error: unknown) => error instanceof Lost;
const succeed = async () => 'answer';
const lose = async () => {
  throw new Lost();
};
const refuse = async () => {
  throw new Refused();
};
const beLate = async () => {
  throw new AppError('DEADLINE_EXCEEDED', 'late');
};
const outcomeOf = (work: Promise<unknown>) => work.catch((error: unknown) => error);

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date', 'setTimeout', 'clearTimeout'] });
});

afterEach(() => {
  vi.useRealTimers();
});

async function opened() {
  const breaker = createBreaker('test', isLost);
  for (let failures = 0; failures < 5; failures += 1) await outcomeOf(breaker.run(lose));
  return breaker;
}

describe('a breaker', () => {
  it('stays closed after four failures in a row and opens after the fifth', async () => {
    const breaker = createBreaker('test', isLost);
    for (let failures = 0; failures < 4; failures += 1) await outcomeOf(breaker.run(lose));
    expect(breaker.figures()).toMatchObject({ state: 'CLOSED', failures: 4 });
    await outcomeOf(breaker.run(lose));
    expect(breaker.figures()).toMatchObject({ state: 'OPEN', failures: 5, opens: 1 });
  });

  it('forgets failures after a success, and not after what does not count', async () => {
    const breaker = createBreaker('test', isLost);
    for (let failures = 0; failures < 4; failures += 1) await outcomeOf(breaker.run(lose));
    await outcomeOf(breaker.run(refuse));
    await outcomeOf(breaker.run(beLate));
    expect(breaker.figures().failures).toBe(4);
    await breaker.run(succeed);
    expect(breaker.figures().failures).toBe(0);
    await outcomeOf(breaker.run(lose));
    expect(breaker.figures()).toMatchObject({ state: 'CLOSED', failures: 1 });
  });

  it('fails at once while it is open, and says for how long', async () => {
    const breaker = await opened();
    vi.advanceTimersByTime(400);
    const work = vi.fn(succeed);
    const error = await outcomeOf(Promise.resolve().then(() => breaker.run(work)));
    expect(error).toMatchObject({ code: 'UNAVAILABLE', executed: 'NO', retryAfterMs: 600 });
    expect(work).not.toHaveBeenCalled();
    expect(breaker.figures()).toMatchObject({ retryAfterMs: 600 });
    expect(breaker.figures().openedAt).toBe(new Date(Date.now() - 400).toISOString());
  });

  it('waits 1 s for the first probe, doubles up to 60 s, and starts anew once closed', async () => {
    const breaker = await opened();
    const waits: (number | null)[] = [];
    for (let probes = 0; probes < 8; probes += 1) {
      const { retryAfterMs } = breaker.figures();
      waits.push(retryAfterMs);
      vi.advanceTimersByTime(retryAfterMs ?? 0);
      await outcomeOf(breaker.run(lose));
    }
    expect(waits).toEqual([1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
    vi.advanceTimersByTime(60_000);
    for (let successes = 0; successes < 3; successes += 1) await breaker.run(succeed);
    for (let failures = 0; failures < 5; failures += 1) await outcomeOf(breaker.run(lose));
    expect(breaker.figures()).toMatchObject({ state: 'OPEN', retryAfterMs: 1000 });
  });

  it('closes after three successes', async () => {
    const breaker = await opened();
    vi.advanceTimersByTime(1000);
    await breaker.run(succeed);
    await breaker.run(succeed);
    expect(breaker.figures()).toMatchObject({ state: 'HALF_OPEN' });
    await breaker.run(succeed);
    expect(breaker.figures()).toMatchObject({ state: 'CLOSED', openedAt: null });
  });

  it('refuses what comes while three probes are under way, and lets nobody wait', async () => {
    const breaker = await opened();
    vi.advanceTimersByTime(1000);
    const answer = Promise.withResolvers<string>();
    const probes = [1, 2, 3].map(() => breaker.run(() => answer.promise));
    expect(() => breaker.assertMayRun()).toThrow('are tried again shortly');
    const fourth = await outcomeOf(Promise.resolve().then(() => breaker.run(succeed)));
    expect(fourth).toMatchObject({ code: 'UNAVAILABLE', retryAfterMs: 100 });
    answer.resolve('answer');
    await Promise.all(probes);
    expect(breaker.figures().state).toBe('CLOSED');
  });

  it('takes a probe without an answer for a failure', async () => {
    const breaker = await opened();
    vi.advanceTimersByTime(1000);
    await outcomeOf(breaker.run(beLate));
    expect(breaker.figures()).toMatchObject({ state: 'OPEN', retryAfterMs: 2000 });
  });

  it('takes a probe that was refused for an answer', async () => {
    const breaker = await opened();
    vi.advanceTimersByTime(1000);
    for (let probes = 0; probes < 3; probes += 1) await outcomeOf(breaker.run(refuse));
    expect(breaker.figures().state).toBe('CLOSED');
  });

  it('never refuses what belongs to work that was let through', async () => {
    const breaker = await opened();
    expect(await breaker.runInside(succeed)).toBe('answer');
    expect(breaker.figures().state).toBe('OPEN');
  });
});

describe('withRetry', () => {
  const budget = () => createRetryBudget(100);

  async function run(work: () => Promise<unknown>, options = {}, call = makeCall()) {
    const outcome = outcomeOf(withRetry(call, work, isLost, { budget: budget(), ...options }));
    await vi.runAllTimersAsync();
    return outcome;
  }

  it('runs again until it succeeds', async () => {
    const work = vi.fn(succeed).mockImplementationOnce(lose).mockImplementationOnce(lose);
    expect(await run(work)).toBe('answer');
    expect(work).toHaveBeenCalledTimes(3);
  });

  it('gives up after three further tries, with the last error', async () => {
    const work = vi.fn(lose);
    expect(await run(work)).toBeInstanceOf(Lost);
    expect(work).toHaveBeenCalledTimes(4);
  });

  it('runs what may not be repeated once', async () => {
    const work = vi.fn(refuse);
    expect(await run(work)).toBeInstanceOf(Refused);
    expect(work).toHaveBeenCalledTimes(1);
  });

  it('waits a random time of up to 25, 50 and 100 ms', async () => {
    const random = vi.spyOn(Math, 'random').mockReturnValue(0.999);
    const times: number[] = [];
    await run(async () => {
      times.push(Date.now());
      throw new Lost();
    });
    random.mockRestore();
    const waits = times.slice(1).map((time, index) => time - (times[index] ?? 0));
    expect(waits).toEqual([24, 49, 99]);
  });

  it('does not wait past the deadline', async () => {
    const random = vi.spyOn(Math, 'random').mockReturnValue(0.999);
    const work = vi.fn(lose);
    expect(await run(work, { baseMs: 60_000, capMs: 60_000 })).toBeInstanceOf(Lost);
    random.mockRestore();
    expect(work).toHaveBeenCalledTimes(1);
  });

  it('does not run again once nobody waits, and stops a wait', async () => {
    const before = new AbortController();
    before.abort();
    const work = vi.fn(lose);
    await run(work, {}, makeCall({ signal: before.signal }));
    expect(work).toHaveBeenCalledTimes(1);

    const during = new AbortController();
    const options = { budget: budget(), baseMs: 20_000, capMs: 20_000 };
    const call = makeCall({ signal: during.signal });
    const outcome = outcomeOf(withRetry(call, work, isLost, options));
    await vi.advanceTimersByTimeAsync(0);
    during.abort();
    expect(await outcome).toBeInstanceOf(Lost);
    expect(work).toHaveBeenCalledTimes(2);
  });

  it('spends at most one retry on ten tries once the start is used up', async () => {
    const shared = createRetryBudget(2);
    const work = vi.fn(lose);
    for (let tries = 0; tries < 40; tries += 1) await run(work, { budget: shared });
    // Two to start with, and three earned by the tries after the first: a full budget earns nothing.
    expect(shared.figures().retries).toBe(5);
    expect(shared.figures().refused).toBeGreaterThan(0);
    expect(work).toHaveBeenCalledTimes(45);
  });
});
