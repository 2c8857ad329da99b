import { SYSTEM_ACCOUNT } from './account.ts';
import type { AlertSeverity } from './alert-rule.ts';
import { type ChangeRecorder, recordInserts, recordUpdates } from './change-recorder.ts';
import { fragment, type Sql } from './sql.ts';

export type AlertState = 'FIRING' | 'RESOLVED';

/** One episode of a rule on one process. It is also the document in the change log. */
export interface Alert {
  readonly id: string;
  /** Its name; the rule may be another by now. */
  readonly rule: string;
  /** `<host name>:<process id>` */
  readonly node: string;
  readonly severity: AlertSeverity;
  readonly state: AlertState;
  /** Of the metric when it fired. */
  readonly value: number;
  readonly threshold: number;
  readonly message: string;
  readonly firedAt: string;
  readonly resolvedAt: string | null;
  readonly acknowledgedBy: string | null;
}

export interface AlertFilter {
  readonly states: readonly AlertState[] | null;
  readonly severities: readonly AlertSeverity[] | null;
}

/** A process that has not said so long that its alerts last has gone. */
const GONE = fragment`interval '5 minutes'`;

const columns = fragment`
  id, rule, node, severity, state, value, threshold, message, fired_at, resolved_at,
  acknowledged_by`;

export function createAlertRepository(sql: Sql, recorder: ChangeRecorder) {
  return {
    /** The newest that match, newest first. */
    async list({ states, severities }: AlertFilter, limit: number): Promise<readonly Alert[]> {
      return sql<Alert>`
        /* alerts.list */
        select ${columns} from alerts
        where true
          ${states === null ? fragment`` : fragment`and state = any(${states}::text[])`}
          ${severities === null ? fragment`` : fragment`and severity = any(${severities}::text[])`}
        order by id desc limit ${limit}`;
    },

    /** Rows in the order of `ids`; null where there is none. */
    async findByIds(ids: readonly string[]): Promise<readonly (Alert | null)[]> {
      const rows = await sql<Alert>`
        /* alerts.findByIds */
        select ${columns} from alerts where id = any(${ids}::uuid[])`;
      const byId = new Map(rows.map((row) => [row.id, row]));
      return ids.map((id) => byId.get(id) ?? null);
    },

    /** The row, locked until the unit ends; null: there is none. */
    async lock(id: string): Promise<Alert | null> {
      const [row] = await sql<Alert>`
        /* alerts.lock */
        select ${columns} from alerts where id = ${id} for no key update`;
      return row ?? null;
    },

    /** Says of a locked row who has seen it, and records it. */
    async acknowledge(before: Alert, actor: string): Promise<Alert> {
      await sql`
        /* alerts.acknowledge */
        update alerts set acknowledged_by = ${actor} where id = ${before.id}`;
      const next = { ...before, acknowledgedBy: actor };
      recordUpdates(recorder, SYSTEM_ACCOUNT, 'alert', [{ before, next }]);
      return next;
    },

    /** Inserts episodes and records each; one that is firing already is left out. */
    async insertMany(alerts: readonly Alert[]): Promise<void> {
      const rows = await sql<{ id: string }>`
        /* alerts.insertMany */
        insert into alerts (${columns}, seen_at)
        select i.id, i.rule, i.node, i.severity, i.state, i.value, i.threshold, i.message,
          i."firedAt", i."resolvedAt", i."acknowledgedBy", clock_timestamp()
        from json_to_recordset(${JSON.stringify(alerts)}::text::json) as i (
          id uuid, rule text, node text, severity text, state text, value double precision,
          threshold double precision, message text, "firedAt" timestamptz,
          "resolvedAt" timestamptz, "acknowledgedBy" text)
        on conflict (rule, node) where state = 'FIRING' do nothing
        returning id`;
      const inserted = new Set(rows.map(({ id }) => id));
      const stored = alerts.filter(({ id }) => inserted.has(id));
      recordInserts(recorder, SYSTEM_ACCOUNT, 'alert', stored);
    },

    /** Says that these last; those of them that are firing. */
    async touchMany(ids: readonly string[]): Promise<ReadonlySet<string>> {
      const rows = await sql<{ id: string }>`
        /* alerts.touchMany */
        update alerts set seen_at = clock_timestamp()
        where id = any(${ids}::uuid[]) and state = 'FIRING' returning id`;
      return new Set(rows.map(({ id }) => id));
    },

    /**
     * Resolves what fires no more, and records each: those of this process that are not among
     * `lasting`, and those of processes that have gone.
     */
    async resolveOthers(node: string, lasting: readonly string[], at: string): Promise<void> {
      const rows = await sql<Alert>`
        /* alerts.resolveOthers */
        update alerts set state = 'RESOLVED', resolved_at = greatest(${at}, fired_at)
        where id in (
          select id from alerts
          where state = 'FIRING' and (
            (node = ${node} and not id = any(${lasting}::uuid[]))
            or seen_at < clock_timestamp() - ${GONE})
          order by id for no key update skip locked)
        returning ${columns}`;
      const updates = rows.map((next) => ({
        before: { ...next, state: 'FIRING' as const, resolvedAt: null },
        next,
      }));
      recordUpdates(recorder, SYSTEM_ACCOUNT, 'alert', updates);
    },
  };
}
