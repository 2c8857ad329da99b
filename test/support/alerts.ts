import { type AlertEngine, createAlertEngine } from '../../datasources/alert-engine.ts';
import type { AlertRule } from '../../datasources/alert-rule.ts';
import { NO_RECORDER } from '../../datasources/change-recorder.ts';
import { createDatasources } from '../../datasources/datasources.ts';
import type { Health } from '../../datasources/health.ts';
import { createMetricHistory } from '../../datasources/metric-history.ts';
import { createUnitsOfWork, type UnitsOfWork } from '../../datasources/unit-of-work.ts';
import { makeCall } from './call.ts';
import type { TestServer } from './server.ts';

/** A process whose figures and time are said by the test, over the database of a server. */
export interface TestProcess {
  /** Of `process.eventLoopMsP99`. */
  loopMs: number;
  nowMs: number;
  /** Thrown instead of reading the rules. */
  fault: Error | null;
  readonly warnings: string[];
  /** Moves on and runs a round. */
  round(seconds?: number): Promise<void>;
}

export function createTestProcess(
  server: TestServer,
  node: string,
  units: UnitsOfWork = createUnitsOfWork(server.tradewind.database, () => {}),
): TestProcess {
  const { database } = server.tradewind;
  const warnings: string[] = [];
  const readRules = async (): Promise<readonly AlertRule[]> => {
    if (state.fault !== null) throw state.fault;
    const sql = database.interactive.sql(makeCall());
    return createDatasources(sql, NO_RECORDER).alertRules.list();
  };
  const engine: AlertEngine = createAlertEngine({
    units,
    monitor: { read: () => makeHealth(node, state.loopMs) },
    history: createMetricHistory(10),
    readRules,
    log: { warn: (_fields, message) => warnings.push(message) },
    clock: () => state.nowMs,
  });
  const state: TestProcess = {
    loopMs: 0,
    nowMs: Date.now(),
    fault: null,
    warnings,
    async round(seconds = 10) {
      state.nowMs += seconds * 1000;
      await engine.run();
    },
  };
  return state;
}

const QUIET = {
  calls: 0,
  errors: 0,
  rows: 0,
  msTotal: 0,
  msMean: 0,
  msP50: 0,
  msP95: 0,
  msP99: 0,
  msMax: 0,
};

/** A process with nothing to say but how late its loop is. */
export function makeHealth(node: string, eventLoopMsP99: number): Health {
  return {
    status: 'HEALTHY',
    reasons: [],
    at: new Date().toISOString(),
    uptimeSeconds: 1,
    node,
    pools: [],
    breakers: [],
    queries: { total: 0, errors: 0, slow: 0, retries: 0, perSecond: 0, recent: QUIET },
    cache: { backend: 'memory', hits: 0, misses: 0, entries: 0, isAvailable: true, operations: [] },
    feed: {
      subscriptions: 0,
      sockets: 0,
      deliveredPerSecond: 0,
      lagMs: null,
      isConnected: true,
    },
    process: { rssBytes: 1, heapUsedBytes: 1, eventLoopMsP99 },
  };
}
