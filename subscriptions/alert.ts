import { assertMay } from '../access.ts';
import type { Context } from '../context.ts';
import { SYSTEM_ACCOUNT } from '../datasources/account.ts';
import type { Alert } from '../datasources/alert.ts';
import { ALERT_SEVERITIES, type AlertSeverity } from '../datasources/alert-rule.ts';
import { AppError } from '../errors.ts';
import type { FeedReader, Watch } from './change-feed.ts';
import { stream } from './stream.ts';

/** How long a key that has ended may be silent before it is noticed. */
const PERMISSION_CHECK_MS = 10_000;
const FIRING_MAX = 10_000;

/**
 * The alerts that fire now, oldest first, then each that fires, is acknowledged or resolved, as it
 * is after that. When the log cannot be followed any further it begins anew.
 *
 * @throws AppError FORBIDDEN; UNAUTHENTICATED once the key has ended
 */
export function alertChanges(
  context: Context,
  input: { readonly minSeverity?: AlertSeverity | null },
): AsyncGenerator<Alert, void, undefined> {
  assertMay(context.actor, 'health:read', null);
  const least = ALERT_SEVERITIES.indexOf(input.minSeverity ?? 'INFO');
  const severities = ALERT_SEVERITIES.slice(least);
  return stream((signal) => followAlerts(context, severities, signal), context.call.signal);
}

async function* followAlerts(
  context: Context,
  severities: readonly AlertSeverity[],
  signal: AbortSignal,
): AsyncGenerator<Alert, void, undefined> {
  const { requestId, operationName, services } = context;
  const watch = services.feed.watch(SYSTEM_ACCOUNT);
  const reader: FeedReader = { requestId, operationName, signal };
  try {
    for (;;) {
      // The place first: what changes while they are read is told a second time, not left out.
      const place = await watch.head({ signal });
      const filter = { states: ['FIRING' as const], severities };
      const firing = await context.datasources.alerts.list(filter, FIRING_MAX);
      for (const alert of firing.toReversed()) {
        assertStillMay(context);
        yield alert;
      }
      yield* follow(context, severities, { watch, place, reader });
    }
  } finally {
    watch.release();
  }
}

/** Ends when what comes after its place cannot be told any more. */
async function* follow(
  context: Context,
  severities: readonly AlertSeverity[],
  from: {
    readonly watch: Watch;
    readonly place: Awaited<ReturnType<Watch['head']>>;
    readonly reader: FeedReader;
  },
): AsyncGenerator<Alert, void, undefined> {
  const { watch, reader } = from;
  let { place } = from;
  for (;;) {
    assertStillMay(context);
    const changes = await watch.read(place, reader);
    if (changes === null) return;
    for (const change of changes) {
      const { seq, hash, entity } = change;
      place = { ...place, seq: Number(seq), hash };
      if (entity !== 'alert') continue;
      // Alerts are written whole by their repository.
      const alert = change.after as Alert;
      if (!severities.includes(alert.severity)) continue;
      assertStillMay(context);
      yield alert;
    }
    if (changes.length > 0) continue;
    await watch.wait(place, { timeMs: PERMISSION_CHECK_MS, signal: reader.signal });
  }
}

function assertStillMay({ actor, services }: Context): void {
  if (!services.isCurrent(actor)) {
    throw new AppError('UNAUTHENTICATED', 'The key was revoked or has expired.');
  }
  assertMay(actor, 'health:read', null);
}
