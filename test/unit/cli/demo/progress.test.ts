import { Decimal } from 'decimal.js';
import { describe, expect, it } from 'vitest';
import { createLiveLine, formatProgress, type Progress } from '../../../../cli/demo/progress.ts';

const progress: Progress = {
  at: new Date(2025, 0, 2, 12, 1, 7),
  candleAtMs: Date.UTC(2024, 8, 14, 15, 30),
  predictions: 4_312,
  hitRate: 0.4712,
  orders: 88,
  fills: 131,
  open: 6,
  closed: 41,
  realizedPnl: new Decimal('123.449'),
  fees: new Decimal('34.09'),
  quote: 'USDT',
  events: 230,
  medianMs: 4.2,
  note: null,
};

describe('formatProgress', () => {
  it('says what the bot has done', () => {
    expect(formatProgress(progress)).toBe(
      '12:01:07  candle 15:30  predictions 4,312 (hit 47.1 %)  orders 88  fills 131  open 6  ' +
        'closed 41  PnL +123.45 USDT  fees 34.09  events 230  p50 4 ms',
    );
  });

  it('leaves out what is not known yet, and begins with a note', () => {
    const line = formatProgress({
      ...progress,
      candleAtMs: null,
      hitRate: null,
      realizedPnl: new Decimal('-2'),
      quote: null,
      medianMs: null,
      note: 'OPEN refused: FORBIDDEN',
    });
    expect(line).toBe(
      '12:01:07  OPEN refused: FORBIDDEN  candle –  predictions 4,312  orders 88  fills 131  ' +
        'open 6  closed 41  PnL -2.00  fees 34.09  events 230  p50 –',
    );
  });

  it('leaves out what matters least where columns are few', () => {
    expect(formatProgress(progress, 119)).toBe(
      'candle 15:30  predictions 4,312 (hit 47.1 %)  orders 88  fills 131  open 6  ' +
        'closed 41  PnL +123.45 USDT  fees 34.09',
    );
    const whole = formatProgress(progress);
    expect(formatProgress(progress, whole.length)).toBe(whole);
    expect(formatProgress(progress, whole.length - 1)).toBe(whole.slice('12:01:07  '.length));
    expect(formatProgress(progress, 20)).toMatch(/^candle 15:30 .* USDT$/);
  });
});

describe('createLiveLine', () => {
  it('rewrites one line of a terminal and never wraps it', () => {
    const output = createOutput({ isTTY: true, columns: 40 });
    const line = createLiveLine(output);
    line.update(() => progress);
    line.update(() => progress);
    expect(output.text()).toBe(`\r\u001b[2K${formatProgress(progress, 39).slice(0, 39)}`.repeat(2));
    line.say('bye');
    expect(output.text().endsWith('\r\u001b[2Kbye\n')).toBe(true);
  });

  it('takes a terminal without a size for one of 120 columns', () => {
    const output = createOutput({ isTTY: true, columns: 0 });
    createLiveLine(output).update(() => progress);
    expect(output.text()).toBe(`\r\u001b[2K${formatProgress(progress, 119)}`);
  });

  it('writes a line every ten seconds elsewhere', () => {
    const output = createOutput({});
    let nowMs = 0;
    const line = createLiveLine(output, () => nowMs);
    line.update(() => progress);
    nowMs = 9_999;
    line.update(() => progress);
    expect(output.text()).toBe('');
    nowMs = 10_000;
    line.update(() => progress);
    line.update(() => progress);
    expect(output.text()).toBe(`${formatProgress(progress)}\n`);
  });
});

function createOutput(traits: { isTTY?: boolean; columns?: number }) {
  let written = '';
  return {
    ...traits,
    write(text: string) {
      written += text;
    },
    text: () => written,
  };
}
