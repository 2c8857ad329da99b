import type { Decimal } from 'decimal.js';

/** What the live line says. */
export interface Progress {
  readonly at: Date;
  /** The opening of the last candle; null: none yet. */
  readonly candleAtMs: number | null;
  readonly symbols: number;
  readonly predictions: number;
  readonly hitRate: number | null;
  readonly open: number;
  readonly closed: number;
  /** Before fees. */
  readonly realizedPnl: Decimal;
  readonly fees: Decimal;
  /** Null where the symbols are not all quoted in one known currency. */
  readonly quote: string | null;
  readonly events: number;
  readonly medianMs: number | null;
  /** What a person should know now: a refusal, a wait; null: nothing. */
  readonly note: string | null;
}

export function formatProgress(progress: Progress): string {
  const { candleAtMs, hitRate, medianMs, quote, note } = progress;
  const count = (value: number) => value.toLocaleString('en-US');
  const hits = hitRate === null ? '' : ` (hit ${(hitRate * 100).toFixed(1)} %)`;
  const parts = [
    progress.at.toTimeString().slice(0, 8),
    // In front, because a narrow terminal cuts the end.
    ...(note === null ? [] : [note]),
    `candle ${candleAtMs === null ? '–' : formatCandleTime(candleAtMs)}`,
    `${progress.symbols} ${progress.symbols === 1 ? 'symbol' : 'symbols'}`,
    `predictions ${count(progress.predictions)}${hits}`,
    `open ${progress.open}`,
    `closed ${count(progress.closed)}`,
    `realized ${formatSigned(progress.realizedPnl)}${quote === null ? '' : ` ${quote}`}`,
    `fees ${progress.fees.toFixed(2)}`,
    `events ${count(progress.events)}`,
    `p50 ${medianMs === null ? '–' : `${Math.round(medianMs)} ms`}`,
  ];
  return parts.join('  ');
}

/** On a terminal one line that is rewritten; anywhere else a line every LINE_MS. */
export interface LiveLine {
  /** Shows the state, when it is time. */
  update(read: () => Progress): void;
  /** A line that stays. */
  say(text: string): void;
}

export interface Output {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

const LINE_MS = 10_000;
const COLUMNS_UNKNOWN = 120;
const CLEAR_LINE = '\r\u001b[2K';

export function createLiveLine(output: Output, now: () => number = Date.now): LiveLine {
  const isTerminal = output.isTTY === true;
  let shownAt = now();
  return {
    update(read) {
      if (isTerminal) {
        // A line that wraps could not be rewritten; a terminal without a size has 0 columns.
        const columns = (output.columns || COLUMNS_UNKNOWN) - 1;
        output.write(CLEAR_LINE + formatProgress(read()).slice(0, columns));
      } else if (now() - shownAt >= LINE_MS) {
        shownAt = now();
        output.write(`${formatProgress(read())}\n`);
      }
    },
    say(text) {
      output.write(`${isTerminal ? CLEAR_LINE : ''}${text}\n`);
    },
  };
}

/** "11-04 23:00", UTC: simulated days are far from today, so the day is said. */
function formatCandleTime(ms: number): string {
  return new Date(ms).toISOString().slice(5, 16).replace('T', ' ');
}

function formatSigned(amount: Decimal): string {
  return `${amount.isNegative() ? '' : '+'}${amount.toFixed(2)}`;
}
