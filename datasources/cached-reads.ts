import { SYSTEM_ACCOUNT } from './account.ts';
import { DATASOURCE_NAMES, type Datasources } from './datasources.ts';
import { ANY_ENTITY, type Use } from './heads.ts';
import type { Call } from './lane.ts';
import { lazily } from '../lazy.ts';
import type { OperationReads, ResultCache } from './result-cache.ts';

/** What the result of a read depends on, and how long it may be kept at most. */
interface Dependencies {
  readonly uses: readonly Use[];
  readonly ttlMs: number;
}

type Operation = (...args: never) => unknown;

// Each read whose result changes only with a change in the log. One that is not listed is never
// kept, nor is an answer that contains it: those that depend on the time or the actor, that write,
// or that read what the log does not tell of.
type CachedReads = {
  readonly [Name in keyof Datasources]?: {
    readonly [Read in keyof Datasources[Name]]?: Datasources[Name][Read] extends Operation
      ? (...args: Parameters<Datasources[Name][Read]>) => Dependencies
      : never;
  };
};

const RESULT_TTL_MS = 5 * 60_000;
const SETTING_TTL_MS = 60 * 60_000;

/** Depends on these entities of the account that the first argument names. */
function own(...entities: readonly string[]) {
  return (accountId: string): Dependencies => usesOf([accountId], entities);
}

function usesOf(
  accountIds: readonly string[],
  entities: readonly string[],
  ttlMs = RESULT_TTL_MS,
): Dependencies {
  const uses = accountIds.flatMap((accountId) => entities.map((entity) => ({ accountId, entity })));
  return { uses, ttlMs };
}

const CACHED_READS: CachedReads = {
  accounts: {
    // An account shows the head of its log, which every change moves.
    findByIds: (ids) => usesOf([...new Set(ids)], [ANY_ENTITY]),
    get: own(ANY_ENTITY),
    listIds: () => usesOf([SYSTEM_ACCOUNT], ['account']),
  },
  balances: { list: own('balance') },
  candles: { list: () => usesOf([SYSTEM_ACCOUNT], ['candle']) },
  changes: { getHead: own(ANY_ENTITY), list: own(ANY_ENTITY), listByRows: own(ANY_ENTITY) },
  marks: { find: own('mark') },
  orders: {
    count: own('order'),
    findByIds: own('order'),
    list: own('order'),
    // By way of their trades.
    listByPositions: own('order', 'trade'),
  },
  predictionAccuracy: { list: own('prediction', 'outcome') },
  predictionStats: { get: own('prediction', 'outcome'), list: own('prediction', 'outcome') },
  positions: { count: own('position'), findByIds: own('position'), list: own('position') },
  predictions: {
    // Whether one is resolved is told by its outcomes.
    count: own('prediction', 'outcome'),
    findByIds: own('prediction'),
    list: own('prediction', 'outcome'),
    listHorizons: own('prediction', 'outcome'),
    listLatest: own('prediction'),
  },
  settings: { list: (accountId) => usesOf([accountId], ['setting'], SETTING_TTL_MS) },
  signals: { count: own('signal'), findByIds: own('signal'), list: own('signal') },
  trades: {
    count: own('trade'),
    findByIds: own('trade'),
    list: own('trade'),
    listByOrders: own('trade'),
    listByPositions: own('trade'),
  },
  tradingPerformance: { list: own('position', 'trade') },
};

/**
 * The same repositories, reading through the cache. Each read is counted for its operation, and one
 * whose result may not be kept says so. Not for transactions: they see what nobody else may see.
 */
export function cacheReads(
  datasources: Datasources,
  cache: ResultCache,
  reads: OperationReads,
  call: Call,
): Datasources {
  // It has the properties of Datasources, whose operations are wrapped as they are.
  return makeCached({ datasources, cache, reads, call }) as unknown as Datasources;
}

interface Cached {
  readonly datasources: Datasources;
  readonly cache: ResultCache;
  readonly reads: OperationReads;
  readonly call: Call;
}

const CACHED = Object.fromEntries(
  DATASOURCE_NAMES.map((name) => [name, (source: Cached) => cacheOne(name, source)]),
);

const makeCached = lazily<Cached, typeof CACHED>(CACHED);

function cacheOne(name: keyof Datasources, { datasources, cache, reads, call }: Cached): object {
  // By names, because the types of the operations differ.
  const table = (CACHED_READS[name] ?? {}) as Readonly<
    Record<string, (...args: unknown[]) => Dependencies>
  >;
  const operations: Record<string, unknown> = {};
  for (const [operation, run] of Object.entries(datasources[name])) {
    const dependenciesOf = table[operation];
    // Repositories are made of functions.
    const load = run as (...args: unknown[]) => Promise<unknown>;
    operations[operation] = (...args: unknown[]) => {
      if (dependenciesOf === undefined) {
        reads.forbid();
        return load(...args);
      }
      const read = { name: `${name}.${operation}`, args, ...dependenciesOf(...args) };
      return cache.read(reads, call, read, () => load(...args));
    };
  }
  return operations;
}
