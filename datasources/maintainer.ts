import { SYSTEM_ACCOUNT } from './account.ts';
import type { Datasources } from './datasources.ts';
import { instantOf } from './instant.ts';
import type { MaintenanceRepository, MaintenanceStep } from './maintenance.ts';
import type { WarnLog } from './statistics.ts';
import type { UnitsOfWork } from './unit-of-work.ts';

/** Days after which rows are deleted; null: never. The books (orders, trades, positions) stay. */
export interface RetentionDays {
  readonly signals: number | null;
  readonly predictions: number | null;
  readonly candles: number | null;
  readonly changes: number | null;
}

export interface MaintainerOptions {
  readonly units: UnitsOfWork;
  readonly log: WarnLog;
  readonly retentionDays: RetentionDays;
  /** Unix milliseconds at which keys were used since the last call, by the ids of the keys. */
  readonly takeKeyUses: () => ReadonlyMap<string, number>;
  /** Those that could not be written. */
  readonly giveBackKeyUses: (uses: ReadonlyMap<string, number>) => void;
  /** Unix milliseconds. */
  readonly clock?: () => number;
}

/** What one run has done: rows by step, a retention by its table. */
export type MaintenanceReport = Readonly<Record<string, number>>;

export interface Maintainer {
  /**
   * Makes partitions ahead, marks expired signals, forgets old idempotency keys and, once an hour,
   * deletes what is older than its retention. A step that another node is at is left to it. A step
   * that fails is logged and does not keep the others from running.
   */
  run(): Promise<MaintenanceReport>;
}

export const IDEMPOTENCY_KEY_HOURS = 72;
const RETENTION_EVERY_MS = 3_600_000;
/** Rows of one unit of work. */
export const MAINTENANCE_ROWS = 1000;
/** Units of one step in one run: what is left waits for the next. */
const UNITS_MAX = 1000;
const MONTHS_AHEAD = 2;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const UNIT_MS = 30_000;

/** How many rows a unit has done; fewer than MAINTENANCE_ROWS: there are no more. */
type UnitStep = (datasources: Datasources) => Promise<number>;

export function createMaintainer(options: MaintainerOptions): Maintainer {
  const { units, log, retentionDays, takeKeyUses, giveBackKeyUses, clock = Date.now } = options;
  let retainedAtMs = Number.NEGATIVE_INFINITY;

  /** One transaction: the rows that `work` has done. */
  async function runUnit(step: string, work: UnitStep): Promise<number> {
    const name = `maintenance.${step}`;
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

  /** As many transactions as it takes; the rows they have done. What another node is at is its. */
  async function runStep(step: MaintenanceStep, work: UnitStep): Promise<number> {
    let rows = 0;
    for (let count = 0; count < UNITS_MAX; count += 1) {
      const done = await runUnit(step, async (datasources) =>
        (await datasources.maintenance.tryLock(step)) ? work(datasources) : 0,
      );
      rows += done;
      if (done < MAINTENANCE_ROWS) break;
    }
    return rows;
  }

  async function touchKeys(): Promise<number> {
    const uses = takeKeyUses();
    try {
      return await runUnit('keyUses', ({ apiKeys }) => apiKeys.touchMany(uses));
    } catch (error) {
      // Written with those that come until the next time.
      giveBackKeyUses(uses);
      throw error;
    }
  }

  async function guarded(name: string, work: () => Promise<number>): Promise<[string, number]> {
    try {
      return [name, await work()];
    } catch (error) {
      log.warn({ err: error, step: name }, 'a step of the maintenance failed');
      return [name, 0];
    }
  }

  async function retain(nowMs: number): Promise<[string, number][]> {
    const done: [string, number][] = [];
    for (const { name, work } of RETENTIONS) {
      const days = retentionDays[name];
      if (days === null) continue;
      const before = instantOf(nowMs - days * DAY_MS);
      done.push(await guarded(name, () => runStep('retention', (all) => work(all, before))));
    }
    return done;
  }

  /** What runs at each call, in this order. */
  function stepsAt(nowMs: number): [string, () => Promise<number>][] {
    const forgotten = instantOf(nowMs - IDEMPOTENCY_KEY_HOURS * HOUR_MS);
    const step = (name: MaintenanceStep, work: UnitStep): [string, () => Promise<number>] => [
      name,
      () => runStep(name, work),
    ];
    return [
      step('partitions', ({ maintenance }) => maintenance.createPartitions(monthsOf(nowMs))),
      step('expiry', ({ signals }) => signals.expireMany(instantOf(nowMs), MAINTENANCE_ROWS)),
      step('idempotencyKeys', ({ maintenance }) =>
        maintenance.deleteIdempotencyKeys(forgotten, MAINTENANCE_ROWS),
      ),
      step('settings', ({ settings }) => settings.purgeRemoved(forgotten, MAINTENANCE_ROWS)),
      // Each node writes what it alone knows.
      ['keyUses', touchKeys],
    ];
  }

  return {
    async run() {
      const nowMs = clock();
      const done: [string, number][] = [];
      for (const [name, work] of stepsAt(nowMs)) done.push(await guarded(name, work));
      if (nowMs - retainedAtMs >= RETENTION_EVERY_MS) {
        retainedAtMs = nowMs;
        done.push(...(await retain(nowMs)));
      }
      return Object.fromEntries(done);
    },
  };
}

interface Retention {
  readonly name: keyof RetentionDays;
  readonly work: (datasources: Datasources, before: string) => Promise<number>;
}

/** Deletes of one account after the other, until a unit has done its rows. */
function ofEachAccount(
  name: keyof RetentionDays,
  remove: (
    maintenance: MaintenanceRepository,
    accountId: string,
    before: string,
    limit: number,
  ) => Promise<number>,
): Retention {
  return {
    name,
    async work({ accounts, maintenance }, before) {
      let rows = 0;
      for (const accountId of [SYSTEM_ACCOUNT, ...(await accounts.listIds())]) {
        if (rows >= MAINTENANCE_ROWS) break;
        rows += await remove(maintenance, accountId, before, MAINTENANCE_ROWS - rows);
      }
      return rows;
    },
  };
}

const RETENTIONS: readonly Retention[] = [
  ofEachAccount('signals', (maintenance, ...values) => maintenance.deleteSignals(...values)),
  ofEachAccount('predictions', (maintenance, ...values) =>
    maintenance.deletePredictions(...values),
  ),
  {
    name: 'candles',
    work: ({ maintenance }, before) => maintenance.deleteCandles(before, MAINTENANCE_ROWS),
  },
  ofEachAccount('changes', (maintenance, ...values) => maintenance.deleteChanges(...values)),
];

/** The first days of this month and the next ones. */
function monthsOf(nowMs: number): readonly string[] {
  const now = new Date(nowMs);
  return Array.from({ length: MONTHS_AHEAD + 1 }, (_, ahead) =>
    new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + ahead, 1))
      .toISOString()
      .slice(0, 10),
  );
}

function unused(): never {
  throw new Error('a unit without a key stores no answer');
}
