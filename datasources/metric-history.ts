import type { Health } from './health.ts';
import { METRICS } from './metric.ts';

/** How often a sample is taken. */
export const SAMPLE_SECONDS = 10;
/** A day of them. */
const SAMPLES_MAX = (24 * 3600) / SAMPLE_SECONDS;

export interface MetricPoint {
  /** Unix milliseconds of the beginning of the step. */
  readonly atMs: number;
  /** The mean of its samples; null: there are none, or nothing was measured. */
  readonly value: number | null;
}

export interface HistorySpan {
  readonly fromMs: number;
  /** Exclusive. */
  readonly toMs: number;
  readonly stepMs: number;
}

/** The metrics of this process, of the last 24 hours; they end with it. */
export interface MetricHistory {
  add(atMs: number, health: Health): void;
  /** One point for each step of the span, oldest first. The metric must be one of METRICS. */
  read(metric: string, span: HistorySpan): readonly MetricPoint[];
}

export function createMetricHistory(samplesMax = SAMPLES_MAX): MetricHistory {
  const times = new Float64Array(samplesMax);
  // NaN stands for what was not measured.
  const columns = new Map([...METRICS.keys()].map((name) => [name, new Float64Array(samplesMax)]));
  let count = 0;

  return {
    add(atMs, health) {
      const place = count % samplesMax;
      times[place] = atMs;
      for (const [name, { read }] of METRICS) {
        const column = columns.get(name);
        if (column !== undefined) column[place] = read(health) ?? Number.NaN;
      }
      count += 1;
    },
    read(metric, { fromMs, toMs, stepMs }) {
      const column = columns.get(metric);
      if (column === undefined) throw new Error(`no metric ${metric}`);
      const steps = Math.max(0, Math.ceil((toMs - fromMs) / stepMs));
      const sums = new Float64Array(steps);
      const counts = new Uint32Array(steps);
      for (let index = Math.max(0, count - samplesMax); index < count; index += 1) {
        const place = index % samplesMax;
        const step = Math.floor(((times[place] ?? 0) - fromMs) / stepMs);
        const value = column[place] ?? Number.NaN;
        if (step < 0 || step >= steps || Number.isNaN(value)) continue;
        sums[step] = (sums[step] ?? 0) + value;
        counts[step] = (counts[step] ?? 0) + 1;
      }
      return Array.from({ length: steps }, (_none, step) => {
        const found = counts[step] ?? 0;
        return {
          atMs: fromMs + step * stepMs,
          value: found === 0 ? null : (sums[step] ?? 0) / found,
        };
      });
    },
  };
}
