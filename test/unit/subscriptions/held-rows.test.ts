import { expect, it } from 'vitest';
import { createRowHolder } from '../../../subscriptions/held-rows.ts';

it('gives the rows in order and forgets each', () => {
  const holder = createRowHolder(3);
  const rows = holder.hold(['a', 'b', 'c']);
  expect(rows.next().value).toBe('a');
  expect(holder.size).toBe(2);
  expect([...rows]).toEqual(['b', 'c']);
  expect(holder.size).toBe(0);
});

it('keeps what is at the bound together, and gives up the oldest above it', () => {
  const holder = createRowHolder(4);
  const [first, second, third] = [holder.hold([1, 2]), holder.hold([3, 4, 5]), holder.hold([6, 7])];
  first.next();
  second.next();
  expect(holder.size).toBe(3);
  third.next();
  // Of the first one row was left: without it the others fit.
  expect(holder.size).toBe(3);
  expect(() => first.next()).toThrow(expect.objectContaining({ code: 'SLOW_CONSUMER' }));
  expect([...second]).toEqual([4, 5]);
  expect([...third]).toEqual([7]);
  expect(holder.size).toBe(0);
});

it('keeps the newest, however many rows it has', () => {
  const holder = createRowHolder(1);
  expect([...holder.hold([1, 2, 3])]).toEqual([1, 2, 3]);
});

it('forgets what is left when its client goes', () => {
  const holder = createRowHolder(10);
  for (const row of holder.hold([1, 2, 3])) if (row === 2) break;
  expect(holder.size).toBe(0);
});
