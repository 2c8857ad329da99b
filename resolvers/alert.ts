import { assertMay } from '../access.ts';
import type { Context } from '../context.ts';
import { SYSTEM_ACCOUNT } from '../datasources/account.ts';
import type { Alert, AlertState } from '../datasources/alert.ts';
import type { AlertSeverity } from '../datasources/alert-rule.ts';
import { requireId } from '../datasources/id.ts';
import { AppError } from '../errors.ts';

const ALERTS_MAX = 500;

/** Alerts are about the server: they stand in its own log. */
export const ALERTS_ACCOUNT = SYSTEM_ACCOUNT;

/**
 * The newest alerts that match, newest first.
 *
 * @throws AppError BAD_INPUT for `first` outside 1–500; FORBIDDEN
 */
export async function alerts(
  context: Context,
  input: {
    readonly state?: readonly AlertState[] | null;
    readonly severity?: readonly AlertSeverity[] | null;
    readonly first: number;
  },
): Promise<readonly Alert[]> {
  assertMay(context.actor, 'health:read', null);
  if (input.first < 1 || input.first > ALERTS_MAX) {
    throw new AppError('BAD_INPUT', `first must be 1 to ${ALERTS_MAX}.`, { path: ['first'] });
  }
  const filter = { states: input.state ?? null, severities: input.severity ?? null };
  return context.datasources.alerts.list(filter, input.first);
}

/**
 * Says that somebody has seen an alert. Who came first stays: a repeat changes nothing.
 *
 * @throws AppError BAD_INPUT for what is no id of an alert; NOT_FOUND; FORBIDDEN
 */
export async function acknowledgeAlert(context: Context, id: string): Promise<Alert> {
  const { actor, unit, datasources } = context;
  assertMay(actor, 'alerts:write', null);
  if (unit === null) throw new Error('an acknowledgement outside of a mutation');
  unit.enter('ATOMIC');
  const alert = await datasources.alerts.lock(requireId(id, 'alert', ALERTS_ACCOUNT, ['id']));
  if (alert === null) throw new AppError('NOT_FOUND', 'There is no such alert.', { path: ['id'] });
  if (alert.acknowledgedBy !== null) return alert;
  return datasources.alerts.acknowledge(alert, actor.name);
}
