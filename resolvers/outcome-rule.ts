import type { Context } from '../context.ts';
import type { Direction } from '../datasources/prediction.ts';
import { AppError } from '../errors.ts';

/** The setting of an account that replaces the thresholds: `{"15": 0.0015, "60": 0.003}`. */
const THRESHOLDS_SETTING = 'outcomes.thresholds';

const THRESHOLDS_MAX = 16;
const MINUTES = /^[1-9]\d{0,6}$/;

/** From how many minutes on a return counts as a direction when it is beyond ±`share`. */
interface Threshold {
  readonly minutes: number;
  readonly share: number;
}

const DEFAULTS: readonly Threshold[] = [
  { minutes: 15, share: 0.0015 },
  { minutes: 60, share: 0.003 },
  { minutes: 240, share: 0.007 },
  { minutes: 720, share: 0.01 },
];

/** What a return over a horizon counts as. */
export type OutcomeRule = (horizonMinutes: number, actualReturn: number) => Direction;

/**
 * The rule of an account: LONG above the threshold of the horizon, SHORT below its negative, else
 * NEUTRAL. A horizon has the threshold of the longest one listed that is not longer than itself;
 * one that is shorter than all listed has that of the shortest.
 *
 * @throws AppError BAD_INPUT when the setting of the account is no list of thresholds
 */
export async function readOutcomeRule(context: Context, accountId: string): Promise<OutcomeRule> {
  const [setting] = await context.datasources.settings.list(accountId, [THRESHOLDS_SETTING]);
  const thresholds = setting === undefined ? DEFAULTS : parseThresholds(setting.value);
  return (horizonMinutes, actualReturn) => {
    const share = shareOf(thresholds, horizonMinutes);
    if (actualReturn > share) return 'LONG';
    return actualReturn < -share ? 'SHORT' : 'NEUTRAL';
  };
}

function shareOf(thresholds: readonly Threshold[], horizonMinutes: number): number {
  const own = thresholds.findLast(({ minutes }) => minutes <= horizonMinutes) ?? thresholds[0];
  if (own === undefined) throw new Error('a list of thresholds is never empty');
  return own.share;
}

function parseThresholds(value: unknown): readonly Threshold[] {
  const entries = typeof value === 'object' && value !== null ? Object.entries(value) : [];
  const thresholds = entries.map(([minutes, share]: [string, unknown]): Threshold => {
    if (!MINUTES.test(minutes) || typeof share !== 'number' || !(share >= 0 && share < 1)) {
      throw badSetting();
    }
    return { minutes: Number(minutes), share };
  });
  if (thresholds.length === 0 || thresholds.length > THRESHOLDS_MAX) throw badSetting();
  return thresholds.sort((a, b) => a.minutes - b.minutes);
}

function badSetting(): AppError {
  return new AppError(
    'BAD_INPUT',
    `The setting ${THRESHOLDS_SETTING} must name 1 to ${THRESHOLDS_MAX} horizons in minutes with ` +
      'shares from 0 to below 1, such as {"15": 0.0015, "60": 0.003}: mend or remove it.',
  );
}
