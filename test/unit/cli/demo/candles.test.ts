import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Decimal } from 'decimal.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readReplay } from '../../../../cli/demo/candles.ts';

const REAL_CANDLES = '../shared/data/btc-candles-1m.json';
const startMs = Date.UTC(2024, 4, 1);
const MINUTE_MS = 60_000;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'candles-'));
});
afterAll(() => rm(folder, { recursive: true }));

async function write(content: unknown): Promise<string> {
  const file = join(folder, 'candles.json');
  await writeFile(file, typeof content === 'string' ? content : JSON.stringify(content));
  return file;
}

describe('readReplay', () => {
  it('folds minutes into quarters of an hour without losing a digit', async () => {
    const file = await write([
      [startMs, 0.00162008, 0.00163, 0.00162, 0.00162, 0.1],
      [startMs + MINUTE_MS, '0.00162', '0.00164', '0.00161', '0.0016300', '0.2'],
      [startMs + 14 * MINUTE_MS, 1.6e-3, 0.0016, 0.00000159, 0.0016, 3],
    ]);
    const { instrument, frames } = await readReplay(file, 'ABCBTC');
    expect(frames).toEqual([
      {
        openTimeMs: startMs,
        candles: [
          {
            exchange: 'bybit',
            symbol: 'ABCBTC',
            interval: '15m',
            openTime: '2024-05-01T00:00:00.000Z',
            open: '0.00162008',
            high: '0.00164',
            low: '0.00000159',
            close: '0.0016',
            volume: '3.3',
          },
        ],
      },
    ]);
    expect(instrument).toMatchObject({ symbol: 'ABCBTC', priceDigits: 8 });
  });

  it('leaves room for an exact fee: finer prices, coarser quantities', async () => {
    const digitsOf = async (price: string) => {
      const file = await write([[startMs, price, price, price, price, 1]]);
      return (await readReplay(file, 'BTCUSDT')).instrument.quantityDigits;
    };
    expect(await digitsOf('7000.25')).toBe(8);
    expect(await digitsOf('0.00265857')).toBe(5);
    expect(await digitsOf('0.00000000000001')).toBe(0);
  });

  it('leaves a gap a gap', async () => {
    const file = await write([
      [startMs, 1, 1, 1, 1, 1],
      [startMs + 15 * MINUTE_MS, 1, 1, 1, 1, 1],
      [startMs + 60 * MINUTE_MS, 1, 1, 1, 1, 1],
    ]);
    const { frames } = await readReplay(file, 'BTCUSDT');
    expect(frames.map((frame) => (frame.openTimeMs - startMs) / MINUTE_MS)).toEqual([0, 15, 60]);
  });

  const row = [startMs, 2, 3, 1, 2, 5];
  it.each([
    ['text that is not JSON', '[[', 'is not JSON'],
    ['an object', { candles: [row] }, 'holds no candles'],
    ['no rows', [], 'holds no candles'],
    ['a short row', [row, [startMs + 1, 2, 3, 1]], 'row 1: not a list of 6 numbers'],
    ['a row that is an object', [{ open: 1 }], 'row 0: not a list of 6 numbers'],
    ['seconds instead of milliseconds', [[startMs / 1_000, 2, 3, 1, 2, 5]], 'between 2015 and now'],
    ['a time that is text', [['2024-05-01', 2, 3, 1, 2, 5]], 'openTimeMs is not a whole number'],
    ['a price that is text', [[startMs, 'two', 3, 1, 2, 5]], 'is not a number'],
    ['a price of 0', [[startMs, 2, 3, 0, 2, 5]], 'a price is not above 0'],
    ['a negative volume', [[startMs, 2, 3, 1, 2, -5]], 'the volume is below it'],
    ['a high below the close', [[startMs, 2, 3, 1, 4, 5]], 'between low and high'],
    ['a low above the open', [[startMs, 2, 4, 3, 4, 5]], 'between low and high'],
    ['rows out of order', [row, row], 'row 1: not later than the row before it'],
    ['hours', [row, [startMs + 3_600_000, 2, 3, 1, 2, 5]], 'are 60 minutes apart'],
  ])('refuses %s', async (_name, content, message) => {
    const read = readReplay(await write(content), 'BTCUSDT');
    await expect(read).rejects.toMatchObject({
      name: 'FatalError',
      message: expect.stringContaining(message),
    });
  });

  it('refuses a file that is not there', async () => {
    await expect(readReplay(join(folder, 'none.json'), 'BTCUSDT')).rejects.toThrow(
      'The candles cannot be read: ENOENT',
    );
  });

  it.skipIf(!existsSync(REAL_CANDLES))('keeps all volume of real minutes with gaps', async () => {
    const rows: number[][] = JSON.parse(await readFile(REAL_CANDLES, 'utf8'));
    const { frames } = await readReplay(REAL_CANDLES, 'BTCUSDT');
    const volumes = frames.flatMap(({ candles }) => candles.map((candle) => candle.volume));
    const expected = Decimal.sum(...rows.map((row) => row[5] ?? 0));
    expect(rows.length).toBeLessThan(frames.length * 15);
    expect(Decimal.sum(...volumes).toFixed()).toBe(expected.toFixed());
  });
});
