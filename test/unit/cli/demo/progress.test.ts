import { Decimal } from 'decimal.js';
import { describe, expect, it } from 'vitest';
import { createLiveLine, formatProgress, type Progress } from '../../../../cli/demo/progress.ts';

const progress: Progress = {
  at: new Date(2025, 0, 2, 12, 1, 7),
  candleAtMs: Date.UTC(2024, 8, 14, 15, 30),
  symbols: 11,
  predictions: 4_312,
  hitRate: 0.4712,
  open: 6,
  closed: 41,
  realizedPnl: new Decimal('123.449'),
  fees: new Decimal('9.9'),
  quote: 'USDT',
  events: 230,
  medianMs: 4.2,
  note: null,
};

describe('formatProgress', () => {
  it('says what the bot has done', () => {
    expect(formatProgress(progress)).toBe(
      '12:01:07  candle 09-14 15:30  11 symbols  predictions 4,312 (hit 47.1 %)  open 6  ' +
        'closed 41  realized +123.45 USDT  fees 9.90  events 230  p50 4 ms',
    );
  });

  it('leaves out what is not known yet, and begins with a note', () => {
    const line = formatProgress({
      ...progress,
      candleAtMs: null,
      symbols: 1,
      hitRate: null,
      realizedPnl: new Decimal('-2'),
      quote: null,
      medianMs: null,
      note: 'OPEN refused: FORBIDDEN',
    });
    expect(line).toBe(
      '12:01:07  OPEN refused: FORBIDDEN  candle –  1 symbol  predictions 4,312  open 6  closed 41  realized -2.00  ' +
        'fees 9.90  events 230  p50 –',
    );
  });
});

describe('createLiveLine', () => {
  it('rewrites one line of a terminal and never wraps it', () => {
    const output = createOutput({ isTTY: true, columns: 40 });
    const line = createLiveLine(output);
    line.update(() => progress);
    line.update(() => progress);
    expect(output.text()).toBe(`\r\u001b[2K${formatProgress(progress).slice(0, 39)}`.repeat(2));
    line.say('bye');
    expect(output.text().endsWith('\r\u001b[2Kbye\n')).toBe(true);
  });

  it('takes a terminal without a size for one of 120 columns', () => {
    const output = createOutput({ isTTY: true, columns: 0 });
    createLiveLine(output).update(() => progress);
    expect(output.text()).toBe(`\r\u001b[2K${formatProgress(progress).slice(0, 119)}`);
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
