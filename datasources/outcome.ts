import type { ChangeRecorder } from './change-recorder.ts';
import type { Direction } from './prediction.ts';
import type { Sql } from './sql.ts';

/** Names one horizon of one prediction. */
export interface HorizonKey {
  readonly predictionId: string;
  readonly horizonMinutes: number;
}

/** A horizon with what is known of its outcome: null while it is pending. */
export interface LockedHorizon extends HorizonKey {
  readonly actualReturn: number | null;
  readonly actualDirection: Direction | null;
  /** Of the item that recorded it (hex); null where it was evaluated from candles. */
  readonly outcomeHash: string | null;
}

export interface NewOutcome extends HorizonKey {
  readonly actualReturn: number;
  readonly actualDirection: Direction;
  readonly resolvedAt: string;
  /** Of the item that records it (hex); null: it was evaluated from candles. */
  readonly outcomeHash: string | null;
}

/** Writes outcomes into the rows of their horizons. */
export function createOutcomeRepository(sql: Sql, recorder: ChangeRecorder) {
  return {
    /** All horizons of these predictions, locked in the order of their keys until the unit ends. */
    async lock(
      accountId: string,
      predictionIds: readonly string[],
    ): Promise<readonly LockedHorizon[]> {
      return sql<LockedHorizon>`
        /* outcomes.lock */
        select prediction_id, horizon_minutes, actual_return, actual_direction,
          encode(outcome_hash, 'hex') as outcome_hash
        from prediction_horizons
        where account_id = ${accountId} and prediction_id = any(${predictionIds}::uuid[])
        order by prediction_id, horizon_minutes for no key update`;
    },

    /**
     * Writes the outcomes of horizons that are pending and records them as one change; one that has
     * an outcome by now keeps it. Those written.
     */
    async insertMany(
      accountId: string,
      outcomes: readonly NewOutcome[],
    ): Promise<readonly HorizonKey[]> {
      const ids = [...new Set(outcomes.map(({ predictionId }) => predictionId))].sort();
      // The ids as an array: by the join alone every partition would be read. Read by their index,
      // the rows are locked in the order in which others lock them.
      const written = await sql<HorizonKey>`
        /* outcomes.insertMany */
        update prediction_horizons as h
        set actual_return = o.actual_return, actual_direction = o.actual_direction,
          correct = h.direction = o.actual_direction,
          return_error = h.predicted_return - o.actual_return,
          resolved_at = o.resolved_at, outcome_hash = decode(o.outcome_hash, 'hex')
        from unnest(
          ${outcomes.map((one) => one.predictionId)}::uuid[],
          ${outcomes.map((one) => one.horizonMinutes)}::int[],
          ${outcomes.map((one) => one.actualReturn)}::float8[],
          ${outcomes.map((one) => one.actualDirection)}::text[],
          ${outcomes.map((one) => one.resolvedAt)}::timestamptz[],
          ${outcomes.map((one) => one.outcomeHash)}::text[]
        ) as o (prediction_id, horizon_minutes, actual_return, actual_direction, resolved_at,
          outcome_hash)
        where h.account_id = ${accountId} and h.prediction_id = any(${ids}::uuid[])
          and h.prediction_id = o.prediction_id and h.horizon_minutes = o.horizon_minutes
          and h.actual_return is null
        returning h.prediction_id, h.horizon_minutes`;
      if (written.length > 0) {
        recorder.record({
          accountId,
          entity: 'outcome',
          operation: 'INSERT',
          ids: [...new Set(written.map(({ predictionId }) => predictionId))],
          count: written.length,
        });
      }
      return written;
    },
  };
}
