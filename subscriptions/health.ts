import { assertMay } from '../access.ts';
import type { Context } from '../context.ts';
import { AppError } from '../errors.ts';
import type { Health } from '../datasources/health.ts';
import { stream } from './stream.ts';
import { sleep } from './waits.ts';

const INTERVAL_MS_DEFAULT = 1000;
const INTERVAL_MS_MIN = 100;
const INTERVAL_MS_MAX = 60_000;

/**
 * How this process is, at once and then each `intervalMs` after the last one was taken.
 *
 * @throws AppError BAD_INPUT for an interval outside 100–60000; FORBIDDEN; UNAUTHENTICATED once the
 * key has ended
 */
export function healthMetrics(
  context: Context,
  input: { readonly intervalMs?: number | null },
): AsyncGenerator<Health, void, undefined> {
  const intervalMs = input.intervalMs ?? INTERVAL_MS_DEFAULT;
  if (intervalMs < INTERVAL_MS_MIN || intervalMs > INTERVAL_MS_MAX) {
    throw new AppError(
      'BAD_INPUT',
      `intervalMs must be ${INTERVAL_MS_MIN} to ${INTERVAL_MS_MAX}.`,
      { path: ['intervalMs'] },
    );
  }
  assertMay(context.actor, 'health:read', null);
  return stream((signal) => beat(context, intervalMs, signal), context.call.signal);
}

async function* beat(
  { actor, services }: Context,
  intervalMs: number,
  signal: AbortSignal,
): AsyncGenerator<Health, void, undefined> {
  for (;;) {
    if (!services.isCurrent(actor)) {
      throw new AppError('UNAUTHENTICATED', 'The key was revoked or has expired.');
    }
    yield services.health.read();
    await sleep(services.feed.clock, intervalMs, signal);
  }
}
