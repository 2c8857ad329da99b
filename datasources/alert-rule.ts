import type { ChangeRecorder } from './change-recorder.ts';
import { SYSTEM_ACCOUNT } from './account.ts';
import type { Sql } from './sql.ts';

export type AlertSeverity = 'INFO' | 'WARNING' | 'CRITICAL';

/** From the mildest to the gravest. */
export const ALERT_SEVERITIES: readonly AlertSeverity[] = ['INFO', 'WARNING', 'CRITICAL'];

export const COMPARISONS = ['>', '>=', '<', '<='] as const;
export type Comparison = (typeof COMPARISONS)[number];

/** When a metric is not as it should be. It is also the document in the change log. */
export interface AlertRule {
  readonly name: string;
  /** One of METRICS. */
  readonly metric: string;
  readonly comparison: Comparison;
  readonly threshold: number;
  readonly severity: AlertSeverity;
  /** It fires once the comparison has held so long, without a break. */
  readonly forSeconds: number;
  readonly enabled: boolean;
  /** Where it stands what to do. */
  readonly runbook: string;
}

export function createAlertRuleRepository(sql: Sql, recorder: ChangeRecorder) {
  async function list(): Promise<readonly AlertRule[]> {
    return sql<AlertRule>`
      /* alertRules.list */
      select name, metric, comparison, threshold, severity, for_seconds, enabled, runbook
      from alert_rules order by name`;
  }

  return {
    /** All rules, by name. */
    list,

    /** All rules, by name; nobody else changes or makes one until the unit ends. */
    async lockAll(): Promise<readonly AlertRule[]> {
      await sql`
        /* alertRules.lock */
        lock table alert_rules in share row exclusive mode`;
      return list();
    },

    /** Writes a rule of the locked table, new or changed, and records it. */
    async upsert(before: AlertRule | null, next: AlertRule): Promise<void> {
      await sql`
        /* alertRules.upsert */
        insert into alert_rules
          (name, metric, comparison, threshold, severity, for_seconds, enabled, runbook)
        values (${next.name}, ${next.metric}, ${next.comparison}, ${next.threshold},
          ${next.severity}, ${next.forSeconds}, ${next.enabled}, ${next.runbook})
        on conflict (name) do update
        set metric = excluded.metric, comparison = excluded.comparison,
          threshold = excluded.threshold, severity = excluded.severity,
          for_seconds = excluded.for_seconds, enabled = excluded.enabled,
          runbook = excluded.runbook`;
      recorder.record({
        accountId: SYSTEM_ACCOUNT,
        entity: 'alertRule',
        operation: before === null ? 'INSERT' : 'UPDATE',
        ids: [next.name],
        before,
        after: next,
      });
    },
  };
}
