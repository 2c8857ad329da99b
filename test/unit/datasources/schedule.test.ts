import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { startSchedule } from '../../../datasources/schedule.ts';

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

describe('startSchedule', () => {
  it('runs after each interval', async () => {
    const work = vi.fn(async () => {});
    startSchedule({ everyMs: 1000, work, onError: () => {} });
    await vi.advanceTimersByTimeAsync(999);
    expect(work).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(2001);
    expect(work).toHaveBeenCalledTimes(3);
  });

  it('never runs twice at once', async () => {
    const first = Promise.withResolvers<void>();
    const work = vi.fn(() => first.promise);
    startSchedule({ everyMs: 1000, work, onError: () => {} });
    await vi.advanceTimersByTimeAsync(5000);
    expect(work).toHaveBeenCalledTimes(1);
    first.resolve();
    await vi.advanceTimersByTimeAsync(1000);
    expect(work).toHaveBeenCalledTimes(2);
  });

  it('goes on after an error', async () => {
    const onError = vi.fn();
    const work = vi.fn(() => Promise.reject(new Error('once more')));
    startSchedule({ everyMs: 1000, work, onError });
    await vi.advanceTimersByTimeAsync(2000);
    expect(onError).toHaveBeenCalledTimes(2);
  });

  it('ends when what is under way has ended', async () => {
    const running = Promise.withResolvers<void>();
    const work = vi.fn(() => running.promise);
    const schedule = startSchedule({ everyMs: 1000, work, onError: () => {} });
    await vi.advanceTimersByTimeAsync(1000);
    let isClosed = false;
    const closing = schedule.close().then(() => {
      isClosed = true;
    });
    await vi.advanceTimersByTimeAsync(5000);
    expect(isClosed).toBe(false);
    running.resolve();
    await closing;
    expect(work).toHaveBeenCalledTimes(1);
  });
});
