import { getEventListeners } from 'node:events';
import { expect, it } from 'vitest';
import { AppError } from '../../../errors.ts';
import { stream } from '../../../subscriptions/stream.ts';
import { createWaits } from '../../../subscriptions/waits.ts';
import { createTestClock } from '../../support/clock.ts';

function makeStream(outer?: AbortSignal) {
  const clock = createTestClock();
  const waits = createWaits(clock);
  const state = { isFreed: false, begun: 0 };
  const events = stream(async function* (signal) {
    state.begun += 1;
    try {
      for (let count = 1; ; count += 1) {
        yield count;
        await waits.wait({ timeMs: 1000, signal });
      }
    } finally {
      state.isFreed = true;
    }
  }, outer);
  return { clock, waits, state, events };
}

it('ends while it waits, and leaves no timer behind', async () => {
  const { clock, waits, state, events } = makeStream();
  expect(await events.next()).toEqual({ done: false, value: 1 });
  const pending = events.next();
  expect(await events.return()).toEqual({ done: true, value: undefined });
  expect(await pending).toEqual({ done: true, value: undefined });
  expect({ ...state, timers: clock.timers, waiting: waits.size }).toEqual({
    isFreed: true,
    begun: 1,
    timers: 0,
    waiting: 0,
  });
  expect(await events.next()).toEqual({ done: true, value: undefined });
});

it('never begins when it is ended before its first event', async () => {
  const { state, events } = makeStream();
  await events.return();
  expect(await events.next()).toEqual({ done: true, value: undefined });
  expect(state.begun).toBe(0);
});

it('ends with the signal of its operation, and takes its listener away', async () => {
  const outer = new AbortController();
  const { state, events } = makeStream(outer.signal);
  await events.next();
  const pending = events.next();
  outer.abort();
  expect(await pending).toEqual({ done: true, value: undefined });
  expect(state.isFreed).toBe(true);
  const listening = makeStream(new AbortController().signal);
  await listening.events.return();
  expect(getEventListeners(outer.signal, 'abort')).toEqual([]);
});

it.each(['while it waits', 'between two events'])(
  'fails once with the reason of its operation, when that is for its reader: %s',
  async (when) => {
    const outer = new AbortController();
    const { state, events } = makeStream(outer.signal);
    await events.next();
    const waiting = when === 'while it waits' ? events.next() : null;
    outer.abort(new AppError('UNAUTHENTICATED', 'The key has ended.'));
    await expect(waiting ?? events.next()).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
    expect(state.isFreed).toBe(true);
    expect(await events.next()).toEqual({ done: true, value: undefined });
  },
);

it('is done, and has not failed, for a reader that has left before', async () => {
  const outer = new AbortController();
  const { events } = makeStream(outer.signal);
  await events.next();
  const pending = events.next();
  const left = events.return();
  outer.abort(new AppError('UNAUTHENTICATED', 'The key has ended.'));
  expect(await Promise.all([pending, left, events.next()])).toEqual(
    Array.from({ length: 3 }, () => ({ done: true, value: undefined })),
  );
});

it('fails with the error of its generator while nobody ended it', async () => {
  // biome-ignore lint/correctness/useYield: it fails before its first event.
  const events = stream<number>(async function* () {
    throw new Error('broken');
  });
  await expect(events.next()).rejects.toThrow('broken');
});

it('resumes what waits when it is rung', async () => {
  const { waits, events } = makeStream();
  await events.next();
  const pending = events.next();
  await new Promise(setImmediate);
  waits.ringAll();
  expect(await pending).toEqual({ done: false, value: 2 });
  await events.return();
});
