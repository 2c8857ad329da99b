import { assertMay } from '../access.ts';
import type { Context } from '../context.ts';
import type { Health } from '../datasources/health.ts';

/**
 * How this process is, now.
 *
 * @throws AppError FORBIDDEN
 */
export function health(context: Context): Health {
  assertMay(context.actor, 'health:read', null);
  return context.services.health.read();
}
