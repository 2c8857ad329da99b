import { afterEach, expect, it, vi } from 'vitest';
import { commandCall } from '../../../cli/offline.ts';

const DAY_MS = 24 * 3_600_000;

afterEach(() => vi.restoreAllMocks());

it('gives each statement of a command its own time, however long the command has run', () => {
  const now = vi.spyOn(performance, 'now').mockReturnValue(0);
  const call = commandCall('verify');
  const timeMs = call.deadlineAt;
  expect(timeMs).toBeGreaterThan(0);
  expect(timeMs).toBeLessThan(DAY_MS);
  now.mockReturnValue(10 * DAY_MS);
  expect(call.deadlineAt).toBe(10 * DAY_MS + timeMs);
});
