import { createAccountRepository } from './account.ts';
import { createApiKeyRepository } from './api-key.ts';
import { createBalanceRepository } from './balance.ts';
import { createCandleRepository } from './candle.ts';
import { createChangeRepository } from './change.ts';
import type { ChangeRecorder } from './change-recorder.ts';
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
import type { Sql } from './sql.ts';
import { createTradeRepository } from './trade.ts';
import { createTradingPerformanceRepository } from './trading-performance.ts';

export type Datasources = ReturnType<typeof createDatasources>;

/** All repositories over one connection: a lane's, or that of a transaction with its recorder. */
export function createDatasources(sql: Sql, recorder: ChangeRecorder) {
  return {
    accounts: createAccountRepository(sql, recorder),
    apiKeys: createApiKeyRepository(sql, recorder),
    balances: createBalanceRepository(sql, recorder),
    candles: createCandleRepository(sql, recorder),
    changes: createChangeRepository(sql),
    maintenance: createMaintenanceRepository(sql, recorder),
    exposure: createExposureRepository(sql),
    fills: createFillRepository(sql, recorder),
    frameExports: createFrameExportRepository(sql),
    frames: createFrameRepository(sql),
    marks: createMarkRepository(sql, recorder),
    operations: createOperationRepository(sql),
    orders: createOrderRepository(sql, recorder),
    outcomeQueue: createOutcomeQueueRepository(sql),
    outcomes: createOutcomeRepository(sql, recorder),
    pnlSeries: createPnlSeriesRepository(sql),
    positions: createPositionRepository(sql, recorder),
    predictionAccuracy: createPredictionAccuracyRepository(sql),
    predictionStats: createPredictionStatsRepository(sql),
    predictions: createPredictionRepository(sql, recorder),
    settings: createSettingRepository(sql, recorder),
    signals: createSignalRepository(sql, recorder),
    trades: createTradeRepository(sql, recorder),
    tradingPerformance: createTradingPerformanceRepository(sql),
  };
}
