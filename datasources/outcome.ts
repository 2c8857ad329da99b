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
     * Writes the outcomes of horizons that are pending, locked in the order of their keys, and
     * records them as one change; one that has an outcome by now keeps it. Those written.
     */
    async insertMany(
      accountId: string,
      outcomes: readonly NewOutcome[],
    ): Promise<readonly HorizonKey[]> {
      const ids = [...new Set(outcomes.map(({ predictionId }) => predictionId))].sort();
      // The ids as an array: by a join alone every partition would be read.
      const written = await sql<HorizonKey>`
        /* outcomes.insertMany */
        with input as materialized (
          select * from json_to_recordset(${JSON.stringify(outcomes)}::text::json) as i (
            "predictionId" uuid, "horizonMinutes" int, "actualReturn" float8,
            "actualDirection" text, "resolvedAt" timestamptz, "outcomeHash" text)
        ), pending as materialized (
          select prediction_id, horizon_minutes from prediction_horizons
          where account_id = ${accountId} and prediction_id = any(${ids}::uuid[])
            and actual_return is null
            and (prediction_id, horizon_minutes) in (
              select "predictionId", "horizonMinutes" from input)
          order by prediction_id, horizon_minutes for no key update
        )
        update prediction_horizons as h
        set actual_return = i."actualReturn", actual_direction = i."actualDirection",
          correct = h.direction = i."actualDirection",
          return_error = h.predicted_return - i."actualReturn",
          resolved_at = i."resolvedAt", outcome_hash = decode(i."outcomeHash", 'hex')
        from pending join input as i on i."predictionId" = pending.prediction_id
          and i."horizonMinutes" = pending.horizon_minutes
        where h.account_id = ${accountId} and h.prediction_id = any(${ids}::uuid[])
          and h.prediction_id = pending.prediction_id
          and h.horizon_minutes = pending.horizon_minutes
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
