import { assertMay } from '../access.ts';
import type { Context } from '../context.ts';
import { quote } from '../datasources/id.ts';
import { instantOf, millisecondsOf } from '../datasources/instant.ts';
import { METRIC_NAMES, METRICS } from '../datasources/metric.ts';
import { AppError } from '../errors.ts';

export { METRIC_NAMES };

const STEP_SECONDS_MAX = 86_400;
const POINTS_MAX = 10_000;
/** What is shown when the range has no beginning. */
const HOUR_MS = 3_600_000;

export interface MetricPoint {
  readonly at: string;
  readonly value: number | null;
}

/**
 * A metric of this process in steps, oldest first: of each its beginning and the mean of its
 * samples, of which there is one each ten seconds; null where there is none. The steps begin at
 * multiples of `stepSeconds` since 1970; the first one holds `from` (an hour before the end when it
 * is left out), the last one ends at `to` (now) or after it.
 *
 * @throws AppError BAD_INPUT for an unknown metric, a step outside 1–86400, a range without time or
 * with more than 10,000 steps; FORBIDDEN
 */
export function metricHistory(
  context: Context,
  input: {
    readonly metric: string;
    readonly range: { readonly from?: string | null; readonly to?: string | null };
    readonly stepSeconds: number;
  },
): readonly MetricPoint[] {
  assertMay(context.actor, 'health:read', null);
  const metric = requireMetric(input.metric, ['metric']);
  const { stepSeconds, range } = input;
  if (stepSeconds < 1 || stepSeconds > STEP_SECONDS_MAX) {
    throw new AppError('BAD_INPUT', `stepSeconds must be 1 to ${STEP_SECONDS_MAX}.`, {
      path: ['stepSeconds'],
    });
  }
  const stepMs = stepSeconds * 1000;
  const toMs = range.to ? millisecondsOf(range.to) : Date.now();
  const wantedMs = range.from ? millisecondsOf(range.from) : toMs - HOUR_MS;
  if (wantedMs >= toMs) {
    throw new AppError('BAD_INPUT', 'The range must end after it begins.', { path: ['range'] });
  }
  const fromMs = Math.floor(wantedMs / stepMs) * stepMs;
  if ((toMs - fromMs) / stepMs > POINTS_MAX) {
    throw new AppError('BAD_INPUT', `At most ${POINTS_MAX} steps: make them longer.`, {
      path: ['stepSeconds'],
    });
  }
  const points = context.services.metrics.read(metric, { fromMs, toMs, stepMs });
  return points.map(({ atMs, value }) => ({ at: instantOf(atMs), value }));
}

/** @throws AppError BAD_INPUT naming those there are */
export function requireMetric(name: string, path: readonly string[]): string {
  if (METRICS.has(name)) return name;
  throw new AppError(
    'BAD_INPUT',
    `${quote(name)} is no metric. There are: ${METRIC_NAMES.join(', ')}.`,
    { path },
  );
}
