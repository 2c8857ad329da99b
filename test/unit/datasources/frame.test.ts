import { describe, expect, it } from 'vitest';
import { createFrameRepository, type FrameRequest } from '../../../datasources/frame.ts';
import { createSql } from '../../../datasources/sql.ts';

/** The text of the statement that a frame of these columns is read by. */
async function statementOf(
  columns: readonly string[],
  read: (
    frames: ReturnType<typeof createFrameRepository>,
    request: FrameRequest,
  ) => Promise<unknown>,
): Promise<string> {
  const texts: string[] = [];
  const sql = createSql(async ({ text }) => {
    texts.push(text);
    return Object.assign([], { count: 0, command: 'CAPTURED' });
  });
  const request: FrameRequest = {
    columns: new Map(columns.map((name) => [name, 1])),
    limit: 10,
    decimals: 'STRING',
    bytesMax: 100,
  };
  await read(createFrameRepository(sql), request);
  expect(texts).toHaveLength(1);
  return texts[0] ?? '';
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
