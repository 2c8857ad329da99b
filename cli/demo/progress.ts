import type { Decimal } from 'decimal.js';

/** What the live line says. */
export interface Progress {
  readonly at: Date;
  /** The opening of the last candle; null: none yet. */
  readonly candleAtMs: number | null;
  readonly predictions: number;
  readonly hitRate: number | null;
  readonly orders: number;
  readonly fills: number;
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

/** A part of the line; of those that are not needed the highest goes first where it is narrow. */
interface Part {
  readonly text: string;
  readonly rank: number;
}

/** One line of up to `columnsMax` columns, where that can be had by leaving parts out. */
export function formatProgress(progress: Progress, columnsMax = Number.POSITIVE_INFINITY): string {
  let parts = partsOf(progress);
  for (let rank = Math.max(...parts.map((part) => part.rank)); rank > 0; rank -= 1) {
    if (join(parts).length <= columnsMax) break;
    parts = parts.filter((part) => part.rank !== rank);
  }
  return join(parts);
}

function partsOf(progress: Progress): readonly Part[] {
  const { candleAtMs, hitRate, medianMs, quote, note } = progress;
  const count = (value: number) => value.toLocaleString('en-US');
  const hits = hitRate === null ? '' : ` (hit ${(hitRate * 100).toFixed(1)} %)`;
  const money = `${formatSigned(progress.realizedPnl)}${quote === null ? '' : ` ${quote}`}`;
  const ms = medianMs === null ? '–' : `${Math.round(medianMs)} ms`;
  return [
    { rank: 4, text: progress.at.toTimeString().slice(0, 8) },
    // In front, because a very narrow terminal cuts the end.
    ...(note === null ? [] : [{ rank: 0, text: note }]),
    { rank: 0, text: `candle ${candleAtMs === null ? '–' : formatCandleTime(candleAtMs)}` },
    { rank: 0, text: `predictions ${count(progress.predictions)}${hits}` },
    { rank: 0, text: `orders ${count(progress.orders)}` },
    { rank: 0, text: `fills ${count(progress.fills)}` },
    { rank: 0, text: `open ${progress.open}` },
    { rank: 0, text: `closed ${count(progress.closed)}` },
    { rank: 0, text: `PnL ${money}` },
    { rank: 1, text: `fees ${progress.fees.toFixed(2)}` },
    { rank: 2, text: `events ${count(progress.events)}` },
    { rank: 3, text: `p50 ${ms}` },
  ];
}

function join(parts: readonly Part[]): string {
  return parts.map(({ text }) => text).join('  ');
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
        output.write(CLEAR_LINE + formatProgress(read(), columns).slice(0, columns));
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

/** "15:30", UTC. */
function formatCandleTime(ms: number): string {
  return new Date(ms).toISOString().slice(11, 16);
}

function formatSigned(amount: Decimal): string {
  return `${amount.isNegative() ? '' : '+'}${amount.toFixed(2)}`;
}
