import { describe, expect, it } from 'vitest';
import type { Change } from '../../../datasources/change.ts';
import type { MarkPlace } from '../../../datasources/mark.ts';
import { createMarkReader } from '../../../subscriptions/mark.ts';
import { makeRow } from '../../support/log.ts';
import { makePosition } from '../../support/positions.ts';

/** A change that marks these symbols at its seq. */
function markChange(seq: number, ...symbols: readonly string[]): Change {
  const after = symbols.map((symbol) => ({ exchange: 'bybit', symbol, price: `${seq}`, at: '' }));
  const ids = symbols.map((symbol) => `bybit ${symbol}`);
  return makeRow(seq, { entity: 'mark', operation: 'MARK', ids, after, hash: `h${seq}` });
}

const reader = (signal = new AbortController().signal) => ({
  requestId: 'request',
  operationName: null,
  signal,
});

/** A symbol without a position. */
const NONE = 'NONE';

type Work<T> = () => Promise<T>;

function make(rowsMax = 100, patiently = <T>(work: Work<T>): Promise<T> => work()) {
  const reads: (readonly MarkPlace[])[] = [];
  let failure: Error | null = null;
  const marks = createMarkReader({
    rowsMax,
    async read(_accountId, places) {
      reads.push(places);
      if (failure !== null) throw failure;
      const held = places.filter(({ symbol }) => symbol !== NONE);
      return held.map(({ seq, symbol }) => ({ seq, position: makePosition({ symbol }) }));
    },
    patiently: (_reader, work) => patiently(work),
  });
  return {
    marks,
    seqs: () => reads.map((places) => places.map(({ seq }) => Number(seq))),
    fail(error: Error | null) {
      failure = error;
    },
  };
}

describe('positions at marks', () => {
  it('are read by one statement for all changes, each at its own prices', async () => {
    const { marks, seqs } = make();
    const changes = [markChange(1, 'A'), markChange(3, 'A', 'B')];
    const [first, second] = await marks.read(changes, reader());
    expect(first?.map(({ symbol, markPrice }) => [symbol, markPrice])).toEqual([['A', '1']]);
    expect(second?.map(({ symbol, markPrice }) => [symbol, markPrice])).toEqual([
      ['A', '3'],
      ['B', '3'],
    ]);
    expect(seqs()).toEqual([[1, 3, 3]]);
  });

  it('are read once for all who ask, meanwhile and a moment later', async () => {
    const { marks, seqs } = make();
    const ask = () => marks.read([markChange(1, 'A')], reader());
    const [one, two] = await Promise.all([ask(), ask()]);
    const three = await ask();
    expect(one?.[0]).toBe(two?.[0]);
    expect(three[0]).toBe(one?.[0]);
    await marks.read([markChange(1, 'A'), markChange(2, 'A')], reader());
    expect(seqs()).toEqual([[1], [2]]);
  });

  it('are not kept beyond the bound, those asked for longest ago first', async () => {
    const { marks, seqs } = make(2);
    const [one, two, three] = [markChange(1, 'A'), markChange(2, 'A'), markChange(3, 'A')];
    await marks.read([one], reader());
    await marks.read([two], reader());
    await marks.read([one], reader());
    expect(seqs()).toEqual([[1], [2]]);
    await marks.read([three], reader());
    await marks.read([one], reader());
    expect(seqs()).toEqual([[1], [2], [3]]);
    await marks.read([two], reader());
    expect(seqs()).toEqual([[1], [2], [3], [2]]);
  });

  it('are not kept beyond the bound though there are none', async () => {
    const { marks, seqs } = make(2);
    const ask = (seq: number) => marks.read([markChange(seq, NONE)], reader());
    expect(await ask(1)).toEqual([[]]);
    await ask(2);
    await ask(1);
    await ask(3);
    expect(seqs()).toEqual([[1], [2], [3]]);
    await ask(2);
    expect(seqs()).toEqual([[1], [2], [3], [2]]);
  });

  it('are of their own history', async () => {
    const { marks, seqs } = make();
    await marks.read([markChange(1, 'A')], reader());
    await marks.read([{ ...markChange(1, 'A'), hash: 'other' }], reader());
    await marks.read([{ ...markChange(1, 'A'), accountId: 'other' }], reader());
    expect(seqs()).toEqual([[1], [1], [1]]);
  });

  it('are asked for anew after a failure', async () => {
    const { marks, fail, seqs } = make();
    fail(new Error('away'));
    await expect(marks.read([markChange(1, 'A')], reader())).rejects.toThrow('away');
    fail(null);
    expect(await marks.read([markChange(1, 'A')], reader())).toHaveLength(1);
    expect(seqs()).toEqual([[1], [1]]);
  });

  it('are read patiently', async () => {
    const { marks, fail, seqs } = make(100, async (work) => {
      await expect(work()).rejects.toThrow('away');
      fail(null);
      return work();
    });
    fail(new Error('away'));
    expect(await marks.read([markChange(1, 'A')], reader())).toHaveLength(1);
    expect(seqs()).toEqual([[1], [1]]);
  });

  it('do not hold a reader that has gone', async () => {
    const { marks } = make();
    const gone = new AbortController();
    const pending = marks.read([markChange(1, 'A')], reader(gone.signal));
    const other = marks.read([markChange(1, 'A')], reader());
    gone.abort(new Error('gone'));
    await expect(pending).rejects.toThrow('gone');
    expect(await other).toHaveLength(1);
  });
});
