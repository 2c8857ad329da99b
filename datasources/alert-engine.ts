import type { Alert } from './alert.ts';
import type { AlertRule, Comparison } from './alert-rule.ts';
import type { Datasources } from './datasources.ts';
import type { Health, HealthMonitor } from './health.ts';
import { uuidOf } from './id.ts';
import { instantOf } from './instant.ts';
import { METRICS } from './metric.ts';
import type { MetricHistory } from './metric-history.ts';
import type { WarnLog } from './statistics.ts';
import type { UnitsOfWork } from './unit-of-work.ts';

export interface AlertEngineOptions {
  readonly units: UnitsOfWork;
  readonly monitor: Pick<HealthMonitor, 'read'>;
  readonly history: MetricHistory;
  readonly readRules: () => Promise<readonly AlertRule[]>;
  readonly log: WarnLog;
  /** Unix milliseconds. */
  readonly clock?: () => number;
}

/**
 * Takes a sample of the metrics of this process, holds it against the rules and writes what has
 * begun and ended. Each process looks after itself: its figures are its own.
 */
export interface AlertEngine {
  /**
   * One round. While the database is away the last known rules hold, and what begins and ends
   * meanwhile is written once it is back.
   */
  run(): Promise<void>;
}

/** Also when nothing begins or ends: says that what fires lasts, and clears what is left over. */
const TOUCH_MS = 60_000;
const UNIT_MS = 5000;

/** A rule whose comparison holds without a break. */
interface Episode {
  readonly sinceMs: number;
  /** Null: not yet, it has to hold for longer. */
  alert: Alert | null;
}

export function createAlertEngine(options: AlertEngineOptions): AlertEngine {
  const { units, monitor, history, readRules, log, clock = Date.now } = options;
  const episodes = new Map<string, Episode>();
  /** Fired and resolved before anybody could be told. */
  let missed: readonly Alert[] = [];
  const stored = new Set<string>();
  let rules: readonly AlertRule[] = [];
  let touchedAtMs = Number.NEGATIVE_INFINITY;

  async function refreshRules(): Promise<void> {
    try {
      rules = await readRules();
    } catch (error) {
      log.warn({ err: error }, 'the alert rules cannot be read: those of before hold');
    }
  }

  function judge(health: Health, nowMs: number): void {
    const holding = new Set<string>();
    for (const rule of rules) {
      const value = rule.enabled ? (METRICS.get(rule.metric)?.read(health) ?? null) : null;
      // What was not measured is no alarm.
      if (value === null || !holds(value, rule.comparison, rule.threshold)) continue;
      holding.add(rule.name);
      const episode = episodes.get(rule.name) ?? { sinceMs: nowMs, alert: null };
      episodes.set(rule.name, episode);
      if (nowMs - episode.sinceMs < rule.forSeconds * 1000) continue;
      episode.alert ??= alertOf(rule, value, health.node, nowMs);
    }
    for (const [name, { alert }] of episodes) {
      if (holding.has(name)) continue;
      episodes.delete(name);
      if (alert === null || stored.has(alert.id)) continue;
      missed = [...missed, { ...alert, state: 'RESOLVED', resolvedAt: instantOf(nowMs) }];
    }
  }

  async function store(node: string, nowMs: number): Promise<void> {
    const lasting = [...episodes.values()].flatMap(({ alert }) => alert ?? []);
    const begun = [...missed, ...lasting.filter(({ id }) => !stored.has(id))];
    const ids = lasting.map(({ id }) => id);
    const isEnded = [...stored].some((id) => !ids.includes(id));
    if (begun.length === 0 && !isEnded && nowMs - touchedAtMs < TOUCH_MS) return;
    const firing = await runUnit(units, async ({ alerts }) => {
      await alerts.resolveOthers(node, ids, instantOf(nowMs));
      if (begun.length > 0) await alerts.insertMany(begun);
      return ids.length === 0 ? new Set<string>() : alerts.touchMany(ids);
    });
    missed = [];
    stored.clear();
    for (const id of firing) stored.add(id);
    // Another process took this one for gone and resolved it: it fires anew.
    for (const episode of episodes.values()) {
      if (episode.alert !== null && !firing.has(episode.alert.id)) episode.alert = null;
    }
    touchedAtMs = nowMs;
  }

  return {
    async run() {
      const nowMs = clock();
      const health = monitor.read();
      history.add(nowMs, health);
      await refreshRules();
      judge(health, nowMs);
      await store(health.node, nowMs);
    },
  };
}

function holds(value: number, comparison: Comparison, threshold: number): boolean {
  switch (comparison) {
    case '>':
      return value > threshold;
    case '>=':
      return value >= threshold;
    case '<':
      return value < threshold;
    case '<=':
      return value <= threshold;
  }
}

function alertOf(rule: AlertRule, value: number, node: string, nowMs: number): Alert {
  const { name, metric, comparison, threshold, severity, forSeconds } = rule;
  const unit = METRICS.get(metric)?.unit ?? '';
  const held = forSeconds === 0 ? '' : ` for ${forSeconds} s`;
  const figure = `${Number(value.toPrecision(6))}${unit === '' ? '' : ` ${unit}`}`;
  return {
    id: uuidOf(nowMs),
    rule: name,
    node,
    severity,
    state: 'FIRING',
    value,
    threshold,
    message: `${metric} of ${node} is ${figure}: ${comparison} ${threshold}${held}.`,
    firedAt: instantOf(nowMs),
    resolvedAt: null,
    acknowledgedBy: null,
  };
}

async function runUnit<T>(
  units: UnitsOfWork,
  work: (datasources: Datasources) => Promise<T>,
): Promise<T> {
  const name = 'alerts.evaluate';
  const request = {
    call: { requestId: name, operationName: name, deadlineAt: performance.now() + UNIT_MS },
    actor: 'system',
    operationName: name,
    idempotency: null,
  };
  const outcome = await units.run(request, async (datasources) => ({
    response: await work(datasources),
    failure: null,
    serialize: unused,
  }));
  if (outcome.kind === 'replayed') throw new Error('a unit without a key was replayed');
  return outcome.response;
}

function unused(): never {
  throw new Error('a unit without a key stores no answer');
}
