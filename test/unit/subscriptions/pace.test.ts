import { describe, expect, it } from 'vitest';
import type { AppError } from '../../../errors.ts';
import {
  BEHIND_CHANGES_MAX,
  BEHIND_MS_MAX,
  createPaces,
  UNSENT_BYTES_MAX,
  UNSENT_MS_MAX,
} from '../../../subscriptions/pace.ts';
import { createTestClock } from '../../support/clock.ts';

const CHECK_MS = 1000;

function openPace() {
  const clock = createTestClock();
  const paces = createPaces(clock);
  const state = { headSeq: 0, unsentBytes: 0 };
  const told: AppError[] = [];
  const pace = paces.open({
    headSeq: () => state.headSeq,
    unsentBytes: () => state.unsentBytes,
    onSlow: (error) => told.push(error),
  });
  return { clock, pace, state, told };
}

const SLOW = { code: 'SLOW_CONSUMER', details: { cursor: 'e.7', seq: '7' }, isRetryable: true };

describe('a reader that does not take what it is offered', () => {
  it('is told after 30 s where it can go on, once, and its stream ends', () => {
    const { clock, pace, told } = openPace();
    pace.offer('e.7', '7');
    clock.advance(BEHIND_MS_MAX - CHECK_MS);
    expect(told).toEqual([]);
    clock.advance(CHECK_MS);
    expect(told).toEqual([expect.objectContaining(SLOW)]);
    clock.advance(CHECK_MS);
    expect(() => pace.taken()).toThrow(expect.objectContaining(SLOW));
    expect(told).toHaveLength(1);
  });

  it('may take as long as that over each event', () => {
    const { clock, pace, told } = openPace();
    for (let seq = 1; seq <= 5; seq += 1) {
      pace.offer(`e.${seq}`, String(seq));
      clock.advance(BEHIND_MS_MAX - 1);
      pace.taken();
    }
    expect(told).toEqual([]);
  });

  it('is told after 10 s when 1 MiB is unsent, not below that', () => {
    const { clock, pace, state, told } = openPace();
    pace.offer('e.7', '7');
    state.unsentBytes = UNSENT_BYTES_MAX - 1;
    clock.advance(CHECK_MS);
    clock.advance(UNSENT_MS_MAX);
    expect(told).toEqual([]);
    state.unsentBytes = UNSENT_BYTES_MAX;
    clock.advance(CHECK_MS);
    clock.advance(UNSENT_MS_MAX - CHECK_MS);
    expect(told).toEqual([]);
    clock.advance(CHECK_MS);
    expect(told).toEqual([expect.objectContaining(SLOW)]);
  });

  it('that leaves is forgotten, with its timer', () => {
    const { clock, pace, told } = openPace();
    pace.offer('e.7', '7');
    expect(clock.timers).toBe(1);
    pace.close();
    pace.close();
    expect(clock.timers).toBe(0);
    clock.advance(BEHIND_MS_MAX);
    expect(told).toEqual([]);
  });
});

describe('a reader that was at the head', () => {
  it('may be 100,000 changes behind and no more', () => {
    const { pace, state, told } = openPace();
    pace.offer('e.7', '7');
    pace.taken();
    state.headSeq = 7 + BEHIND_CHANGES_MAX;
    pace.reached(7, true);
    state.headSeq += 1;
    expect(() => pace.reached(7, true)).toThrow(expect.objectContaining(SLOW));
    expect(told).toHaveLength(1);
  });

  it('has to reach within 30 s what was the head', () => {
    const { clock, pace, state } = openPace();
    pace.offer('e.7', '7');
    pace.taken();
    state.headSeq = 100;
    pace.reached(7, true);
    clock.advance(BEHIND_MS_MAX - 1);
    pace.reached(99, true);
    clock.advance(1);
    expect(() => pace.reached(99, true)).toThrow(expect.objectContaining(SLOW));
  });

  it('is on time while it follows a log that never rests', () => {
    const { clock, pace, state } = openPace();
    for (let turn = 1; turn <= 10; turn += 1) {
      state.headSeq = turn * 1000;
      clock.advance(BEHIND_MS_MAX - 1);
      pace.reached((turn - 1) * 1000, true);
    }
  });
});

it('lets a reader that catches up take its time, however far behind', () => {
  const { clock, pace, state, told } = openPace();
  state.headSeq = 10 * BEHIND_CHANGES_MAX;
  for (let seq = 1; seq <= 5; seq += 1) {
    pace.offer(`e.${seq}`, String(seq));
    clock.advance(BEHIND_MS_MAX - 1);
    pace.taken();
    pace.reached(seq, false);
  }
  expect(told).toEqual([]);
});
