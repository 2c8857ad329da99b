import { createAccountRepository } from './account.ts';
import { createAlertRepository } from './alert.ts';
import { createAlertRuleRepository } from './alert-rule.ts';
import { createApiKeyRepository } from './api-key.ts';
import { createBalanceRepository } from './balance.ts';
import { createCandleRepository } from './candle.ts';
import { createChangeRepository } from './change.ts';
import type { ChangeRecorder } from './change-recorder.ts';
import { lazily } from '../lazy.ts';
import { type HeldWrites, writeAtOnce } from './held-writes.ts';
import { createMaintenanceRepository } from './maintenance.ts';
import { createExposureRepository } from './exposure.ts';
import { createFillRepository } from './fill.ts';
import { createFrameRepository } from './frame.ts';
import { createFrameExportRepository } from './frame-export.ts';
import { createMarkRepository } from './mark.ts';
import { createOperationRepository } from './operation.ts';
import { createOrderRepository } from './order.ts';
import { createOutcomeRepository } from './outcome.ts';
import { createOutcomeQueueRepository } from './outcome-queue.ts';
import { createPnlSeriesRepository } from './pnl-series.ts';
import { createPositionRepository } from './position.ts';
import { createPredictionRepository } from './prediction.ts';
import { createPredictionAccuracyRepository } from './prediction-accuracy.ts';
import { createPredictionStatsRepository } from './prediction-stats.ts';
import { createSettingRepository } from './setting.ts';
import { createSignalRepository } from './signal.ts';
import { NO_SNAPSHOTS, type Snapshots } from './shared-snapshot.ts';
import type { Sql } from './sql.ts';
import { createTradeRepository } from './trade.ts';
import { createTradingPerformanceRepository } from './trading-performance.ts';

interface Source {
  readonly sql: Sql;
  readonly held: HeldWrites;
  readonly recorder: ChangeRecorder;
  readonly snapshots: Snapshots;
}

const MAKERS = {
  accounts: ({ sql, recorder }: Source) => createAccountRepository(sql, recorder),
  alertRules: ({ sql, recorder }: Source) => createAlertRuleRepository(sql, recorder),
  alerts: ({ sql, recorder }: Source) => createAlertRepository(sql, recorder),
  apiKeys: ({ sql, recorder }: Source) => createApiKeyRepository(sql, recorder),
  balances: ({ sql, recorder }: Source) => createBalanceRepository(sql, recorder),
  candles: ({ sql, recorder }: Source) => createCandleRepository(sql, recorder),
  changes: ({ sql }: Source) => createChangeRepository(sql),
  maintenance: ({ sql, recorder }: Source) => createMaintenanceRepository(sql, recorder),
  exposure: ({ sql }: Source) => createExposureRepository(sql),
  fills: ({ held, recorder }: Source) => createFillRepository(held, recorder),
  frameExports: ({ sql }: Source) => createFrameExportRepository(sql),
  frames: ({ snapshots }: Source) => createFrameRepository(snapshots),
  marks: ({ held, recorder }: Source) => createMarkRepository(held, recorder),
  operations: ({ sql }: Source) => createOperationRepository(sql),
  orders: ({ held, recorder }: Source) => createOrderRepository(held, recorder),
  outcomeQueue: ({ sql }: Source) => createOutcomeQueueRepository(sql),
  outcomes: ({ sql, recorder }: Source) => createOutcomeRepository(sql, recorder),
  pnlSeries: ({ sql }: Source) => createPnlSeriesRepository(sql),
  positions: ({ held, recorder }: Source) => createPositionRepository(held, recorder),
  predictionAccuracy: ({ sql }: Source) => createPredictionAccuracyRepository(sql),
  predictionStats: ({ sql }: Source) => createPredictionStatsRepository(sql),
  predictions: ({ sql, recorder }: Source) => createPredictionRepository(sql, recorder),
  settings: ({ sql, recorder }: Source) => createSettingRepository(sql, recorder),
  signals: ({ sql, recorder }: Source) => createSignalRepository(sql, recorder),
  trades: ({ held, recorder }: Source) => createTradeRepository(held, recorder),
  tradingPerformance: ({ sql }: Source) => createTradingPerformanceRepository(sql),
};

const make = lazily<Source, typeof MAKERS>(MAKERS);

export type Datasources = ReturnType<typeof make>;

export const DATASOURCE_NAMES = Object.keys(MAKERS) as readonly (keyof Datasources)[];

/**
 * All repositories over one connection: a lane's, or that of a transaction with its recorder. Each
 * is made when it is first used, and writes at once. Frames are read in `snapshots`.
 */
export function createDatasources(
  sql: Sql,
  recorder: ChangeRecorder,
  snapshots: Snapshots = NO_SNAPSHOTS,
): Datasources {
  return make({ sql, recorder, snapshots, held: writeAtOnce(sql) });
}

/** The repositories of a unit of work, over what it holds. */
export function createHoldingDatasources(held: HeldWrites, recorder: ChangeRecorder): Datasources {
  return make({ sql: held.sql, recorder, snapshots: NO_SNAPSHOTS, held });
}
