import type { Postgres } from './world.ts';

export interface Bench {
  readonly postgres: Postgres;
  readonly isQuick: boolean;
  /** Where servers write their CPU profiles; null: none are taken. */
  readonly profileFolder: string | null;
}

/** One claim or several, measured on databases of their own. */
export type Line = (bench: Bench) => Promise<readonly Result[]>;

/** A figure of the product beside the limit that was measured in the same run. */
export interface Result {
  readonly line: string;
  readonly figure: string;
  readonly limit: string;
  /** Figure by limit. */
  readonly ratio: number;
  /** What the ratio must be. */
  readonly bound: { readonly kind: 'at least' | 'at most'; readonly value: number };
}

export function isMet({ ratio, bound }: Result): boolean {
  return bound.kind === 'at least' ? ratio >= bound.value : ratio <= bound.value;
}

/** The results as one table for a terminal. */
export function formatTable(results: readonly Result[]): string {
  const rows = [
    ['line', 'figure', 'limit', 'ratio', 'accepted', ''],
    ...results.map((result) => [
      result.line,
      result.figure,
      result.limit,
      result.ratio.toFixed(2),
      `${result.bound.kind} ${result.bound.value}`,
      isMet(result) ? 'ok' : 'MISSED',
    ]),
  ];
  const widths = rows[0]?.map((_cell, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  );
  const lines = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths?.[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  return `\n${lines.join('\n')}\n`;
}

/** The value that this share of the values is not above. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN;
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}
