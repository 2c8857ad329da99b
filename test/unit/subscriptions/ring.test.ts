import { describe, expect, it } from 'vitest';
import type { Change } from '../../../datasources/change.ts';
import { bytesOf, createRing } from '../../../subscriptions/ring.ts';
import { makeRow } from '../../support/log.ts';

const ALL = { countMax: 1000, bytesMax: 1_000_000 };

function rows(first: number, last: number): Change[] {
  return Array.from({ length: last - first + 1 }, (_row, index) => makeRow(first + index));
}

function seqs(changes: readonly Change[]): number[] {
  return changes.map(({ seq }) => Number(seq));
}

describe('a ring of four', () => {
  const make = () => createRing({ lengthMax: 4, bytesMax: 1_000_000 });

  it('gives what was added after a seq, oldest first', () => {
    const ring = make();
    ring.append(rows(1, 4));
    expect(seqs(ring.read(0, ALL))).toEqual([1, 2, 3, 4]);
    expect(seqs(ring.read(3, ALL))).toEqual([4]);
    expect(ring.read(4, ALL)).toEqual([]);
  });

  it('covers everything while it is not full, and one less with each that is added then', () => {
    const ring = make();
    ring.append(rows(1, 4));
    expect(ring.covers(0)).toBe(true);
    ring.append(rows(5, 5));
    expect(ring.covers(0)).toBe(false);
    expect(ring.covers(1)).toBe(true);
    expect(seqs(ring.read(1, ALL))).toEqual([2, 3, 4, 5]);
    expect(ring.length).toBe(4);
  });

  it('covers the end and what is ahead of it', () => {
    const ring = make();
    ring.restart(41);
    expect(ring.covers(40)).toBe(false);
    expect(ring.covers(41)).toBe(true);
    expect(ring.covers(50)).toBe(true);
    expect(ring.read(50, ALL)).toEqual([]);
  });

  it('begins anew after a gap, so that it never has one', () => {
    const ring = make();
    ring.append([...rows(1, 2), ...rows(4, 5)]);
    expect(ring.covers(2)).toBe(false);
    expect(seqs(ring.read(3, ALL))).toEqual([4, 5]);
    expect(ring.headSeq).toBe(5);
  });

  it('forgets what it held when it is begun elsewhere', () => {
    const ring = make();
    ring.append(rows(1, 3));
    ring.restart(100);
    ring.append(rows(101, 101));
    expect(ring.covers(99)).toBe(false);
    expect(seqs(ring.read(100, ALL))).toEqual([101]);
    expect(ring.bytes).toBe(bytesOf(makeRow(101)));
  });

  it('gives no more than it is asked for at once', () => {
    const ring = make();
    ring.append(rows(1, 4));
    expect(seqs(ring.read(0, { countMax: 2, bytesMax: 1_000_000 }))).toEqual([1, 2]);
    const bytesMax = bytesOf(makeRow(1));
    expect(seqs(ring.read(0, { countMax: 4, bytesMax: bytesMax - 1 }))).toEqual([1]);
    expect(seqs(ring.read(0, { countMax: 4, bytesMax }))).toEqual([1, 2]);
  });

  it('survives many laps', () => {
    const ring = make();
    for (let seq = 1; seq <= 1000; seq += 1) ring.append(rows(seq, seq));
    expect(seqs(ring.read(996, ALL))).toEqual([997, 998, 999, 1000]);
    const held = rows(997, 1000).map((row) => bytesOf(row));
    expect(ring.bytes).toBe(held.reduce((sum, bytes) => sum + bytes));
  });
});

it('drops the oldest when it takes too much memory, at the bound not yet', () => {
  const bytesMax = 2 * bytesOf(makeRow(1));
  const ring = createRing({ lengthMax: 100, bytesMax });
  ring.append(rows(1, 2));
  expect(ring.length).toBe(2);
  ring.append(rows(3, 3));
  expect(seqs(ring.read(1, ALL))).toEqual([2, 3]);
  expect(ring.bytes).toBe(bytesMax);
});

it('drops the oldest when it may take less than before', () => {
  const ring = createRing({ lengthMax: 100, bytesMax: 1_000_000 });
  ring.append(rows(1, 5));
  ring.limit(2 * bytesOf(makeRow(1)));
  expect(ring.length).toBe(2);
  expect(seqs(ring.read(3, ALL))).toEqual([4, 5]);
});

it('holds nothing of a change that is larger than the ring', () => {
  const ring = createRing({ lengthMax: 100, bytesMax: 1000 });
  ring.append([makeRow(1, { after: { text: 'x'.repeat(2000) } })]);
  expect(ring.length).toBe(0);
  expect(ring.bytes).toBe(0);
  expect(ring.covers(0)).toBe(false);
  ring.append([makeRow(2)]);
  expect(seqs(ring.read(1, ALL))).toEqual([2]);
});

it('sizes values of any depth', () => {
  let value: unknown = 'x';
  for (let depth = 0; depth < 100_000; depth += 1) value = [value];
  expect(bytesOf(value)).toBeLessThan(10_000);
  expect(bytesOf({ text: 'x'.repeat(100) })).toBeGreaterThan(100);
});

describe('the newest mark of an instrument', () => {
  const mark = (seq: number, ...ids: readonly string[]) =>
    makeRow(seq, { entity: 'mark', operation: 'MARK', ids });

  it('is that of the last change that names it, while that is held', () => {
    const ring = createRing({ lengthMax: 4, bytesMax: 1_000_000 });
    ring.append([mark(1, 'a', 'b'), mark(2, 'a'), ...rows(3, 4)]);
    expect(['a', 'b', 'c'].map(ring.newestMarkOf)).toEqual([2, 1, 0]);
    ring.append(rows(5, 5));
    expect(['a', 'b'].map(ring.newestMarkOf)).toEqual([2, 0]);
    ring.append(rows(6, 6));
    expect(ring.newestMarkOf('a')).toBe(0);
  });

  it('is forgotten with all that is held', () => {
    const ring = createRing({ lengthMax: 4, bytesMax: 1_000_000 });
    ring.append([mark(1, 'a')]);
    ring.restart(1);
    expect(ring.newestMarkOf('a')).toBe(0);
  });

  it('is of marks alone', () => {
    const ring = createRing({ lengthMax: 4, bytesMax: 1_000_000 });
    ring.append([makeRow(1, { ids: ['a'] })]);
    expect(ring.newestMarkOf('a')).toBe(0);
  });
});
