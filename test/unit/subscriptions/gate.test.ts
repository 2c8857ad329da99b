import { expect, it } from 'vitest';
import { createGate } from '../../../subscriptions/gate.ts';

it('lets two in at once and the others in their order', async () => {
  const gate = createGate(2);
  const begun: number[] = [];
  const ends: (() => void)[] = [];
  const all = [0, 1, 2, 3].map((index) =>
    gate.run(() => {
      begun.push(index);
      return new Promise<void>((resolve) => ends.push(resolve));
    }),
  );
  await new Promise(setImmediate);
  expect(begun).toEqual([0, 1]);
  ends[1]?.();
  await all[1];
  expect(begun).toEqual([0, 1, 2]);
  ends[0]?.();
  ends[2]?.();
  await Promise.all([all[0], all[2]]);
  ends[3]?.();
  await all[3];
});

it('gives the place back when work fails', async () => {
  const gate = createGate(1);
  await expect(gate.run(() => Promise.reject(new Error('no')))).rejects.toThrow('no');
  expect(await gate.run(async () => 'yes')).toBe('yes');
});

it('forgets who leaves before his turn', async () => {
  const gate = createGate(1);
  const leaving = new AbortController();
  let end = () => {};
  const first = gate.run(() => new Promise<void>((resolve) => (end = resolve)));
  await new Promise(setImmediate);
  const second = gate.run(async () => 'never', leaving.signal);
  const third = gate.run(async () => 'third');
  leaving.abort(new Error('gone'));
  await expect(second).rejects.toThrow('gone');
  end();
  await first;
  expect(await third).toBe('third');
});
