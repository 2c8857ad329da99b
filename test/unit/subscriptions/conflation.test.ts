import { describe, expect, it } from 'vitest';
import { CONFLATED_MAX, createConflation, type Told } from '../../../subscriptions/conflation.ts';

const told = (key: string, seq: number): Told => ({ key, seq: String(seq), fromSeq: String(seq) });
const merge = (earlier: Told, later: Told): Told => ({ ...later, fromSeq: earlier.fromSeq });

describe('without an interval', () => {
  it('tells everything at once, in order', () => {
    const conflation = createConflation(0, merge);
    conflation.add(told('a', 1));
    conflation.add(told('a', 2));
    expect(conflation.isDue(0)).toBe(true);
    expect(conflation.take(0).map(({ seq }) => seq)).toEqual(['1', '2']);
    expect(conflation.size).toBe(0);
    expect(conflation.waitMs(0)).toBeNull();
  });
});

describe('with an interval of 100 ms', () => {
  it('tells the first at once and holds back what follows until the interval is over', () => {
    const conflation = createConflation(100, merge);
    conflation.add(told('a', 1));
    expect(conflation.isDue(5)).toBe(true);
    conflation.take(5);
    conflation.add(told('a', 2));
    expect(conflation.isDue(104)).toBe(false);
    expect(conflation.waitMs(104)).toBe(1);
    expect(conflation.isDue(105)).toBe(true);
  });

  it('tells the newest of each key in the order of seqs, and what it stands for', () => {
    const conflation = createConflation(100, merge);
    for (const item of [told('a', 1), told('b', 2), told('a', 3), told('a', 4)]) {
      conflation.add(item);
    }
    expect(conflation.take(0)).toEqual([
      { key: 'b', seq: '2', fromSeq: '2' },
      { key: 'a', seq: '4', fromSeq: '1' },
    ]);
  });

  it('is full at its bound and not before', () => {
    const conflation = createConflation(100, merge);
    for (let seq = 1; seq < CONFLATED_MAX; seq += 1) conflation.add(told(String(seq), seq));
    expect(conflation.isFull).toBe(false);
    conflation.add(told('last', CONFLATED_MAX));
    expect(conflation.isFull).toBe(true);
  });
});
