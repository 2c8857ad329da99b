import { describe, expect, it } from 'vitest';
import { createFrameRepository, type FrameRequest } from '../../../datasources/frame.ts';
import type { Snapshots } from '../../../datasources/shared-snapshot.ts';
import { createSql } from '../../../datasources/sql.ts';

/** The texts of the statements that a frame of these columns is read by. */
async function statementOf(
  columns: readonly string[],
  read: (
    frames: ReturnType<typeof createFrameRepository>,
    request: FrameRequest,
  ) => Promise<unknown>,
): Promise<string> {
  const texts: string[] = [];
  const bytes = (...values: string[]) => values.map((value) => Buffer.from(value));
  const sql = createSql(async ({ name, text }) => {
    texts.push(text);
    const found = { 'frames.findChunks': bytes('1', 'high'), 'frames.fetch': bytes('0') }[name];
    return Object.assign(found === undefined ? [] : [found], { count: 0, command: 'CAPTURED' });
  });
  const snapshots: Snapshots = {
    read: (work) => work({ sql, beside: () => Promise.resolve() }),
  };
  const request: FrameRequest = {
    columns: new Map(columns.map((name) => [name, 1])),
    limit: 10,
    decimals: 'STRING',
    bytesMax: 100,
  };
  await read(createFrameRepository(snapshots), request);
  expect(texts).toHaveLength(3);
  return texts.join();
}

describe('the statement of a frame', () => {
  it('names the columns asked for and no other', async () => {
    const text = await statementOf(['symbol', 'price'], ({ readTrades }, request) =>
      readTrades('main', {}, request),
    );
    expect(text).toMatch(/trades\.symbol[\s\S]*trades\.price/);
    expect(text).not.toMatch(/quantity|commission|executed_at|strategy|\*\s+from trades/);
  });

  it('names no column when none is asked for', async () => {
    const text = await statementOf([], ({ readTrades }, request) =>
      readTrades('main', {}, request),
    );
    expect(text).not.toMatch(/json_agg|price|symbol/);
  });

  it.each([
    ['modelVersion', false],
    ['confidence', true],
    ['correct', true],
  ])('of %s reads horizons: %s', async (column, isExpected) => {
    const text = await statementOf([column], ({ readPredictions }, request) =>
      readPredictions('main', {}, request),
    );
    expect(text.includes('prediction_horizons')).toBe(isExpected);
    expect(text).not.toMatch(/features|indicators|metadata/);
  });

  it.each([
    ['entryPrice', false],
    ['markPrice', true],
    ['unrealizedPnl', true],
  ])('of %s reads marks: %s', async (column, isExpected) => {
    const text = await statementOf([column], ({ readPositions }, request) =>
      readPositions('main', {}, request),
    );
    expect(text.includes('from marks')).toBe(isExpected);
  });

  it('cannot be made of a column that there is not', async () => {
    const read = statementOf(['features'], ({ readPredictions }, request) =>
      readPredictions('main', {}, request),
    );
    await expect(read).rejects.toThrow('no column features');
  });
});
