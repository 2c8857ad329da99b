import { assertMay } from '../access.ts';
import type { Context } from '../context.ts';
import {
  type AlertRule,
  type AlertSeverity,
  type Comparison,
  COMPARISONS,
} from '../datasources/alert-rule.ts';
import { quote } from '../datasources/id.ts';
import { AppError } from '../errors.ts';
import { requireMetric } from './metric.ts';

const RULES_MAX = 200;
const NAME = /^[a-z][a-z0-9-]{0,63}$/;
const FOR_SECONDS_MAX = 86_400;
/** JSON and the database write it without loss of the order of magnitude. */
const THRESHOLD_MAX = 1e300;
/** Of a rule that somebody has made: what to do stands where it is explained how to write one. */
const RUNBOOK = 'docs/runbooks.md#rules-of-your-own';

export interface PutAlertRuleInput {
  readonly name: string;
  readonly metric?: string | null;
  readonly comparison?: string | null;
  readonly threshold?: number | null;
  readonly severity?: AlertSeverity | null;
  readonly forSeconds?: number | null;
  readonly enabled?: boolean | null;
}

/**
 * All rules, by name.
 *
 * @throws AppError FORBIDDEN
 */
export async function alertRules(context: Context): Promise<readonly AlertRule[]> {
  assertMay(context.actor, 'health:read', null);
  return context.datasources.alertRules.list();
}

/**
 * Makes a rule or changes one: what is left out, or null, stays as it is. A new one needs metric,
 * comparison and threshold; it is a WARNING that fires at once, and enabled, unless it says
 * otherwise. All processes follow within about ten seconds.
 *
 * @throws AppError BAD_INPUT naming the field; CONFLICT over 200 rules; FORBIDDEN
 */
export async function putAlertRule(context: Context, input: PutAlertRuleInput): Promise<AlertRule> {
  const { actor, unit, datasources } = context;
  assertMay(actor, 'alerts:write', null);
  if (unit === null) throw new Error('a rule outside of a mutation');
  unit.enter('ATOMIC');
  if (!NAME.test(input.name)) {
    throw refusal('name', 'A name has 1 to 64 of a-z, 0-9 and -, and begins with a letter.');
  }
  const rules = await datasources.alertRules.lockAll();
  const before = rules.find(({ name }) => name === input.name) ?? null;
  const next = ruleOf(input, before);
  if (before === null && rules.length >= RULES_MAX) {
    throw new AppError('CONFLICT', `There are ${RULES_MAX} rules already.`);
  }
  if (before === null || !isSame(before, next)) await datasources.alertRules.upsert(before, next);
  return next;
}

function ruleOf(input: PutAlertRuleInput, before: AlertRule | null): AlertRule {
  const threshold = required('threshold', input.threshold ?? before?.threshold);
  if (!(Math.abs(threshold) <= THRESHOLD_MAX)) {
    throw refusal('threshold', `A threshold is a number up to ${THRESHOLD_MAX}.`);
  }
  const forSeconds = input.forSeconds ?? before?.forSeconds ?? 0;
  if (forSeconds < 0 || forSeconds > FOR_SECONDS_MAX) {
    throw refusal('forSeconds', `forSeconds must be 0 to ${FOR_SECONDS_MAX}.`);
  }
  return {
    name: input.name,
    metric: requireMetric(required('metric', input.metric ?? before?.metric), ['input', 'metric']),
    comparison: comparisonOf(required('comparison', input.comparison ?? before?.comparison)),
    threshold,
    severity: input.severity ?? before?.severity ?? 'WARNING',
    forSeconds,
    enabled: input.enabled ?? before?.enabled ?? true,
    runbook: before?.runbook ?? RUNBOOK,
  };
}

function comparisonOf(text: string): Comparison {
  const found = COMPARISONS.find((one) => one === text);
  if (found !== undefined) return found;
  throw refusal('comparison', `${quote(text)} is none of ${COMPARISONS.join(' ')}.`);
}

function required<T>(field: string, value: T | undefined): T {
  if (value !== undefined) return value;
  throw refusal(field, `A new rule needs its ${field}.`);
}

function isSame(before: AlertRule, next: AlertRule): boolean {
  // Both have the members of AlertRule.
  return Object.entries(next).every(([name, value]) => before[name as keyof AlertRule] === value);
}

function refusal(field: string, message: string): AppError {
  return new AppError('BAD_INPUT', message, { path: ['input', field] });
}
