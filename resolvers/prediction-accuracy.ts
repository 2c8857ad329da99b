import { requireAccount } from '../access.ts';
import type { Context } from '../context.ts';
import type {
  AccuracyDimension,
  PredictionAccuracy as Figures,
} from '../datasources/prediction-accuracy.ts';
import type { PredictionWhere } from '../datasources/prediction.ts';
import { AppError } from '../errors.ts';

/** Of one answer. */
const GROUPS_MAX = 10_000;
/** Outcomes that are ranked for one answer: 40 bytes each in memory, and some 2 seconds a million. */
const PAIRS_MAX = 5_000_000;

export interface PredictionAccuracy extends Figures {
  readonly lowSample: boolean;
}

/**
 * How good the horizons of the predictions that match were, by any of six dimensions and in the
 * order of `groupBy`. Those that are pending count in `total` and `pending` alone. A group with
 * fewer than `minSamples` resolved horizons is there, and `lowSample`.
 *
 * @throws AppError BAD_INPUT for a negative `minSamples`; QUERY_TOO_EXPENSIVE over 10,000 groups,
 * or over 5,000,000 outcomes with the information coefficient; FORBIDDEN
 */
export async function predictionAccuracy(
  context: Context,
  input: {
    account?: string | null;
    where?: PredictionWhere | null;
    groupBy?: readonly AccuracyDimension[] | null;
    minSamples?: number | null;
  },
  wanted: { readonly hasInformationCoefficient: boolean },
): Promise<readonly PredictionAccuracy[]> {
  const accountId = requireAccount(context.actor, input.account, 'predictions:read');
  const minSamples = input.minSamples ?? 1;
  if (minSamples < 0) {
    throw new AppError('BAD_INPUT', `minSamples is ${minSamples}; it must not be negative.`, {
      path: ['minSamples'],
    });
  }
  const dimensions = [...new Set(input.groupBy ?? (['MODEL_VERSION', 'HORIZON'] as const))];
  const groups = await context.analytics.predictionAccuracy.list(
    accountId,
    input.where ?? {},
    dimensions,
    { ...wanted, pairsMax: PAIRS_MAX, limit: GROUPS_MAX + 1 },
  );
  if (groups === null) {
    throw new AppError(
      'QUERY_TOO_EXPENSIVE',
      `informationCoefficient ranks at most ${PAIRS_MAX} outcomes: give a shorter range, or ask ` +
        'without it.',
      { path: ['where', 'predictedAt'], details: { outcomesMax: PAIRS_MAX } },
    );
  }
  if (groups.length > GROUPS_MAX) {
    throw new AppError(
      'QUERY_TOO_EXPENSIVE',
      `There are more than ${GROUPS_MAX} groups: ask for fewer dimensions or a shorter range.`,
      { path: ['groupBy'], details: { groupsMax: GROUPS_MAX } },
    );
  }
  return groups.map((group) => ({ ...group, lowSample: group.resolved < minSamples }));
}
