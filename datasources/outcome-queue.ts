import type { HorizonKey } from './outcome.ts';
import { fragment, type Sql } from './sql.ts';

/** A horizon that is over, with what the candles say about it. */
export interface DueHorizon {
  readonly predictionId: string;
  /** The instants under which the prediction stands in the queue. */
  readonly queuedAts: readonly string[];
  /** Null: the prediction is gone, or has no horizon that is due. */
  readonly horizonMinutes: number | null;
  readonly dueAt: string | null;
  /** When the prediction's next horizon is over; null: there is none. */
  readonly nextDueAt: string | null;
  /** False: it has an outcome. */
  readonly isPending: boolean;
  readonly exchange: string;
  readonly symbol: string;
  readonly interval: string;
  readonly predictedAt: string;
  readonly hasStart: boolean;
  readonly hasEnd: boolean;
  /** Null where a candle is missing. */
  readonly actualReturn: number | null;
}

/** A horizon that waits for a candle. */
export interface Gap extends HorizonKey {
  /** The end of the candle that is missing. */
  readonly closeTime: string;
  readonly exchange: string;
  readonly symbol: string;
  readonly interval: string;
  readonly dueAt: string;
}

/** What was done about one prediction of the queue. */
export interface Examined {
  readonly predictionId: string;
  /** Those of its places in the queue that are dealt with. */
  readonly queuedAts: readonly string[];
  /** Its new place; null: it needs none. */
  readonly nextDueAt: string | null;
}

/** Of the log of `_system`, in one call: a batch of candles is one change. */
const CHANGES_MAX = 50;
/** How far `countPending` counts. */
const PENDING_COUNT_MAX = 100_000;

/**
 * Which horizons are over, oldest first, without reading those that are not and without reading
 * again those that lack a candle: the log of `_system` says which candles have come.
 */
export function createOutcomeQueueRepository(sql: Sql) {
  return {
    /** Until the unit ends, no other one evaluates outcomes of this account. */
    async lock(accountId: string): Promise<void> {
      await sql`
        /* outcomeQueue.lock */
        select pg_advisory_xact_lock(hashtextextended(${`tradewind.outcomes.${accountId}`}, 0))`;
    },

    /**
     * Puts up to `limit` horizons whose candle has come back into the queue. False: there are more.
     * Where the log of the candles was cut off before it was followed, each gap is taken for one
     * whose candle may have come.
     */
    async wake(accountId: string, limit: number): Promise<boolean> {
      const [row] = await sql<{ isDone: boolean }>`
        /* outcomeQueue.wake */
        with state as materialized (
          select coalesce(c.seq, h.seq) as seq, h.seq as head,
            exists (select from outcome_gaps where account_id = ${accountId}) as has_gaps,
            case when exists (
              select from change_checkpoints k where k.account_id = '_system' and k.seq > c.seq
            ) then '-infinity' else c.swept_to end as swept_to
          from account_heads h left join outcome_cursors c on c.account_id = ${accountId}
          where h.account_id = '_system'
        ), followed as materialized (
          select ch.seq, ch.ids from state cross join lateral (
            select seq, ids from changes
            where account_id = '_system' and seq > state.seq and seq <= state.head
              and entity = 'candle' and operation <> 'DELETE' and state.has_gaps
            order by seq limit ${CHANGES_MAX}) as ch
        ), arrived as materialized (
          select distinct part[1] as exchange, part[2] as symbol, part[3] as interval,
            part[4]::timestamptz + candle_interval(part[3]) as close_time
          from followed cross join unnest(ids) as key
          cross join lateral regexp_match(key, '^([^:]+):(.+):([^:]+):([^:]+:[^:]+:[^:]+)$') as part
        ), woken as materialized (
          select g.* from arrived a cross join lateral (
            select * from outcome_gaps g
            where g.account_id = ${accountId} and g.close_time = a.close_time
              and g.exchange = a.exchange and g.symbol = a.symbol and g.interval = a.interval
            offset 0) as g
          limit ${limit}
        ), swept as materialized (
          select g.* from state cross join lateral (
            select * from outcome_gaps g
            where g.account_id = ${accountId} and g.close_time > state.swept_to
            order by g.close_time fetch first (${limit}::bigint) rows with ties) as g
          where state.swept_to is not null and state.has_gaps
        ), moved as materialized (
          select * from woken union select * from swept
        ), gone as (
          delete from outcome_gaps g using moved m
          where g.account_id = ${accountId} and g.close_time = m.close_time
            and g.exchange = m.exchange and g.symbol = m.symbol and g.interval = m.interval
            and g.prediction_id = m.prediction_id and g.horizon_minutes = m.horizon_minutes
        ), queued as (
          insert into outcome_queue (account_id, due_at, prediction_id)
          select distinct ${accountId}, due_at, prediction_id from moved
          on conflict do nothing
        ), next as materialized (
          select case
              when (select count(*) from woken) >= ${limit} then state.seq
              when (select count(*) from followed) >= ${CHANGES_MAX}
                then (select max(seq) from followed)
              else state.head
            end as seq,
            case when (select count(*) from swept) >= ${limit}
              then (select max(close_time) from swept) end as swept_to,
            state.head
          from state
        ), moved_cursor as (
          insert into outcome_cursors as c (account_id, seq, swept_to)
          select ${accountId}, seq, swept_to from next
          on conflict (account_id) do update
          set seq = excluded.seq, swept_to = excluded.swept_to
          where (c.seq, c.swept_to) is distinct from (excluded.seq, excluded.swept_to)
        )
        select seq = head and swept_to is null as is_done from next`;
      return row?.isDone ?? true;
    },

    /**
     * Up to `limit` horizons that are over at `upTo`, those first that were over first. All
     * candles that they are compared with have closed by `upTo`: nothing later is looked at.
     */
    async findDue(accountId: string, upTo: string, limit: number): Promise<readonly DueHorizon[]> {
      // An offset of 0 keeps each part a search by primary key, in one partition, for each row.
      return sql<DueHorizon>`
        /* outcomeQueue.findDue */
        with queued as materialized (
          select prediction_id, min(due_at) as due_from, array_agg(due_at) as queued_ats from (
            select prediction_id, due_at from outcome_queue
            where account_id = ${accountId} and due_at <= ${upTo}
            order by due_at, prediction_id limit ${limit}) as first
          group by prediction_id
        ), due as materialized (
          select q.prediction_id, q.queued_ats, h.horizon_minutes, h.due_at, h.next_due_at,
            coalesce(h.is_pending, false) as is_pending, p.exchange, p.symbol, p.interval,
            p.predicted_at, candle_interval(p.interval) as lasts
          from queued q
          left join lateral (
            select exchange, symbol, interval, predicted_at
            from predictions where account_id = ${accountId} and id = q.prediction_id offset 0
          ) as p on true
          left join lateral (
            select * from (
              select horizon_minutes, due_at, is_pending,
                lead(due_at) over (order by due_at) as next_due_at
              from (
                select horizon_minutes, resolved_at is null as is_pending,
                  p.predicted_at + horizon_minutes * interval '1 minute' as due_at
                from prediction_horizons
                where account_id = ${accountId} and prediction_id = q.prediction_id offset 0
              ) as own
              where due_at >= q.due_from
            ) as left_over
            where due_at <= ${upTo}
          ) as h on true
          order by h.due_at nulls first, q.prediction_id
          limit ${limit}
        )
        select d.prediction_id, d.queued_ats, d.horizon_minutes, d.due_at, d.next_due_at,
          d.is_pending, d.exchange, d.symbol, d.interval, d.predicted_at,
          s.close is not null as has_start, e.close is not null as has_end,
          (e.close / s.close - 1)::float8 as actual_return
        from due d
        left join lateral ${closeAt(fragment`d.predicted_at`)} as s on d.is_pending
        left join lateral ${closeAt(fragment`d.due_at`)} as e on d.is_pending
        order by d.due_at nulls first, d.prediction_id`;
    },

    /** Moves what was examined on in the queue and keeps what lacks a candle as gaps. */
    async finish(
      accountId: string,
      examined: readonly Examined[],
      gaps: readonly Gap[],
    ): Promise<void> {
      const done = examined.flatMap(({ predictionId, queuedAts }) =>
        queuedAts.map((queuedAt) => ({ predictionId, queuedAt })),
      );
      const next = examined.filter(({ nextDueAt }) => nextDueAt !== null);
      await sql`
        /* outcomeQueue.finish */
        with gone as (
          delete from outcome_queue q
          using unnest(
            ${done.map((one) => one.queuedAt)}::timestamptz[],
            ${done.map((one) => one.predictionId)}::uuid[]) as d (due_at, prediction_id)
          where q.account_id = ${accountId} and q.due_at = d.due_at
            and q.prediction_id = d.prediction_id
        ), parked as (
          insert into outcome_gaps (
            account_id, close_time, exchange, symbol, interval, prediction_id, horizon_minutes,
            due_at)
          select ${accountId}, g."closeTime", g.exchange, g.symbol, g.interval, g."predictionId",
            g."horizonMinutes", g."dueAt"
          from json_to_recordset(${JSON.stringify(gaps)}::text::json) as g (
            "closeTime" timestamptz, exchange text, symbol text, interval text,
            "predictionId" uuid, "horizonMinutes" int, "dueAt" timestamptz)
          on conflict do nothing
        )
        insert into outcome_queue (account_id, due_at, prediction_id)
        select ${accountId}, n.due_at, n.prediction_id from unnest(
          ${next.map((one) => one.nextDueAt)}::timestamptz[],
          ${next.map((one) => one.predictionId)}::uuid[]) as n (due_at, prediction_id)
        on conflict do nothing`;
    },

    /** Forgets the gaps of horizons that have an outcome now. */
    async removeGaps(accountId: string, keys: readonly HorizonKey[]): Promise<void> {
      await sql`
        /* outcomeQueue.removeGaps */
        delete from outcome_gaps g
        using unnest(
          ${keys.map((key) => key.predictionId)}::uuid[],
          ${keys.map((key) => key.horizonMinutes)}::int[]) as k (prediction_id, horizon_minutes),
          predictions p
        where p.account_id = ${accountId} and p.id = k.prediction_id
          and p.id = any(${keys.map((key) => key.predictionId)}::uuid[])
          and g.account_id = ${accountId}
          and g.close_time in (
            p.predicted_at, p.predicted_at + k.horizon_minutes * interval '1 minute')
          and g.exchange = p.exchange and g.symbol = p.symbol and g.interval = p.interval
          and g.prediction_id = k.prediction_id and g.horizon_minutes = k.horizon_minutes`;
    },

    /** How many horizons are over at `upTo` and have no outcome; 100,000 stands for more, too. */
    async countPending(accountId: string, upTo: string): Promise<number> {
      const [row] = await sql<{ count: number }>`
        /* outcomeQueue.countPending */
        select count(*)::int as count from (
          select 1 from outcome_gaps where account_id = ${accountId} and due_at <= ${upTo}
          union all
          select 1 from outcome_queue q
          cross join lateral (
            select predicted_at from predictions
            where account_id = ${accountId} and id = q.prediction_id offset 0
          ) as p
          cross join lateral (
            select 1 from prediction_horizons h
            where h.account_id = ${accountId} and h.prediction_id = q.prediction_id
              and h.resolved_at is null
              and p.predicted_at + h.horizon_minutes * interval '1 minute'
                between q.due_at and ${upTo}
            offset 0
          ) as h
          where q.account_id = ${accountId} and q.due_at <= ${upTo}
          limit ${PENDING_COUNT_MAX}) as pending`;
      return row?.count ?? 0;
    },

    /** Whether the queue holds something that is over at `upTo`. */
    async hasDue(accountId: string, upTo: string): Promise<boolean> {
      const [row] = await sql<{ hasDue: boolean }>`
        /* outcomeQueue.hasDue */
        select exists (
          select from outcome_queue where account_id = ${accountId} and due_at <= ${upTo}
        ) as has_due`;
      return row?.hasDue ?? false;
    },
  };
}

/** The close of the candle of a prediction's interval that ends at this instant. */
function closeAt(at: ReturnType<typeof fragment>) {
  return fragment`(
    select close from candles c
    where c.exchange = d.exchange and c.symbol = d.symbol and c.interval = d.interval
      and c.open_time = ${at} - d.lasts offset 0)`;
}
