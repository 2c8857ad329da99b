import type { Datasources } from './datasources/datasources.ts';
import { lazily } from './lazy.ts';
import { AppError } from './errors.ts';

export type Role = 'VIEWER' | 'ANALYST' | 'BOT' | 'OPERATOR' | 'ADMIN';

export type Permission =
  | 'accounts:read'
  | 'accounts:write'
  | 'alerts:write'
  | 'balances:read'
  | 'balances:write'
  | 'candles:read'
  | 'candles:write'
  | 'changes:read'
  | 'health:read'
  | 'keys:read'
  | 'keys:write'
  | 'operations:read'
  | 'orders:read'
  | 'orders:write'
  | 'positions:read'
  | 'positions:write'
  | 'predictions:read'
  | 'predictions:write'
  | 'schema:explore'
  /** No role has it: what it guards is done by the server itself. */
  | 'server:maintain'
  | 'settings:read'
  | 'settings:write'
  | 'signals:read'
  | 'signals:write'
  | 'statements:read'
  | 'trades:read'
  | 'trades:write'
  | 'trading-state:write';

/** Who asks. Made once per key or token, and replaced when either changes. */
export interface Actor {
  /** As it stands in the log: `key:Ab3…` or `jwt:<subject>`. */
  readonly name: string;
  readonly role: Role;
  readonly permissions: ReadonlySet<Permission>;
  /** Null: every account. */
  readonly accounts: readonly string[] | null;
  /** `Date.now()` milliseconds after which it is nobody any more; null: never. */
  readonly expiresAtMs: number | null;
}

const READ: readonly Permission[] = [
  'accounts:read',
  'balances:read',
  'candles:read',
  'health:read',
  'operations:read',
  'orders:read',
  'positions:read',
  'predictions:read',
  'settings:read',
  'signals:read',
  'trades:read',
];
const WRITE: readonly Permission[] = [
  'balances:write',
  'candles:write',
  'orders:write',
  'positions:write',
  'predictions:write',
  'settings:write',
  'signals:write',
  'trades:write',
];

const PERMISSIONS: Readonly<Record<Role, ReadonlySet<Permission>>> = {
  VIEWER: new Set(READ),
  ANALYST: new Set([...READ, 'changes:read', 'schema:explore']),
  BOT: new Set([...READ, ...WRITE, 'changes:read', 'schema:explore']),
  OPERATOR: new Set([
    ...READ,
    ...WRITE,
    'alerts:write',
    'changes:read',
    'keys:read',
    'schema:explore',
    'statements:read',
    'trading-state:write',
  ]),
  ADMIN: new Set([
    ...READ,
    ...WRITE,
    'accounts:write',
    'alerts:write',
    'changes:read',
    'keys:read',
    'keys:write',
    'schema:explore',
    'statements:read',
    'trading-state:write',
  ]),
};

export function permissionsOf(role: Role): ReadonlySet<Permission> {
  return PERMISSIONS[role];
}

/** Whether a key of this role may be for every account: a bot is made for the accounts it trades. */
export function mayHaveAllAccounts(role: Role): boolean {
  return role === 'ADMIN' || role === 'OPERATOR';
}

/** @throws AppError FORBIDDEN naming the permission or the account that is missing */
export function assertMay(actor: Actor, permission: Permission, accountId: string | null): void {
  if (!actor.permissions.has(permission)) {
    throw new AppError('FORBIDDEN', `The role ${actor.role} lacks the permission ${permission}.`);
  }
  if (accountId === null || actor.accounts === null) return;
  if (!actor.accounts.includes(accountId)) {
    throw new AppError('FORBIDDEN', `This key is not for account ${JSON.stringify(accountId)}.`);
  }
}

/**
 * The account a request is about: the one it names, else the only one of its key.
 *
 * @throws AppError BAD_INPUT when it names none and the key has several; FORBIDDEN
 */
export function requireAccount(
  actor: Actor,
  accountId: string | null | undefined,
  permission: Permission,
): string {
  const [only, second] = actor.accounts ?? [];
  const chosen = accountId ?? (second === undefined ? only : undefined);
  if (chosen === undefined) {
    throw new AppError('BAD_INPUT', 'Name the account: this key is for more than one.', {
      path: ['account'],
    });
  }
  assertMay(actor, permission, chosen);
  if (chosen === SYSTEM_ACCOUNT && permission.endsWith(':write')) {
    throw new AppError(
      'FORBIDDEN',
      `${SYSTEM_ACCOUNT} is the server's own log: nobody trades there.`,
    );
  }
  return chosen;
}

const SYSTEM_ACCOUNT = '_system';

// What each operation of a repository needs. An operation that is not listed does not compile, and
// one that is called past this table does not run: denied by default. Operations whose first
// argument is an account id are checked against the accounts of the key as well.
type Rules = {
  readonly [Name in keyof Datasources]: {
    readonly [Operation in keyof Datasources[Name]]: Permission | `${Permission} of any account`;
  };
};

const RULES: Rules = {
  accounts: {
    findByIds: 'accounts:read of any account',
    get: 'accounts:read',
    insert: 'accounts:write',
    listIds: 'accounts:read of any account',
    setTradingState: 'trading-state:write',
  },
  alertRules: {
    list: 'health:read of any account',
    lockAll: 'alerts:write of any account',
    upsert: 'alerts:write of any account',
  },
  alerts: {
    acknowledge: 'alerts:write of any account',
    findByIds: 'health:read of any account',
    insertMany: 'server:maintain of any account',
    list: 'health:read of any account',
    lock: 'alerts:write of any account',
    resolveOthers: 'server:maintain of any account',
    touchMany: 'server:maintain of any account',
  },
  apiKeys: {
    countCurrent: 'keys:write of any account',
    findById: 'keys:write of any account',
    insert: 'keys:write of any account',
    list: 'keys:read of any account',
    lockWhileEmpty: 'keys:write of any account',
    revoke: 'keys:write of any account',
    touchMany: 'server:maintain of any account',
  },
  balances: {
    count: 'balances:write',
    list: 'balances:read',
    lock: 'balances:write',
    upsertMany: 'balances:write',
  },
  candles: {
    list: 'candles:read of any account',
    upsertMany: 'candles:write of any account',
  },
  changes: {
    findHash: 'changes:read',
    getHead: 'accounts:read',
    list: 'changes:read',
    listAfter: 'changes:read',
    listByRows: 'changes:read',
  },
  maintenance: {
    createPartitions: 'server:maintain of any account',
    deleteCandles: 'server:maintain of any account',
    deleteChanges: 'server:maintain of any account',
    deleteIdempotencyKeys: 'server:maintain of any account',
    deletePredictions: 'server:maintain of any account',
    deleteSignals: 'server:maintain of any account',
    tryLock: 'server:maintain of any account',
  },
  exposure: {
    find: 'positions:read',
  },
  fills: {
    write: 'trades:write',
  },
  frameExports: {
    // Of what was opened.
    fetch: 'candles:read of any account',
    openCandles: 'candles:read of any account',
    openPositions: 'positions:read',
    openPredictions: 'predictions:read',
    openTrades: 'trades:read',
  },
  frames: {
    readCandles: 'candles:read of any account',
    readPositions: 'positions:read',
    readPredictions: 'predictions:read',
    readTrades: 'trades:read',
  },
  marks: {
    find: 'positions:read',
    triggerStops: 'positions:write',
    upsertMany: 'positions:write',
  },
  orders: {
    count: 'orders:read',
    findByClientOrderIds: 'orders:write',
    findByIds: 'orders:read',
    findPlacingRules: 'orders:write',
    insertMany: 'orders:write',
    list: 'orders:read',
    listByPositions: 'orders:read',
    lock: 'orders:write',
    lockForFills: 'orders:write',
    lockOpen: 'orders:write',
    updateMany: 'orders:write',
  },
  operations: {
    find: 'operations:read of any account',
  },
  outcomeQueue: {
    countPending: 'predictions:write',
    findDue: 'predictions:write',
    finish: 'predictions:write',
    hasDue: 'predictions:write',
    lock: 'predictions:write',
    removeGaps: 'predictions:write',
    wake: 'predictions:write',
  },
  outcomes: {
    insertMany: 'predictions:write',
    lock: 'predictions:write',
  },
  pnlSeries: {
    find: 'trades:read',
  },
  positions: {
    count: 'positions:read',
    findByIds: 'positions:read',
    findForOpening: 'positions:write',
    insertMany: 'positions:write',
    list: 'positions:read',
    lock: 'positions:write',
    lockInstruments: 'positions:write',
    lockOpen: 'positions:write',
    updateMany: 'positions:write',
  },
  predictionAccuracy: {
    list: 'predictions:read',
  },
  predictionStats: {
    get: 'predictions:read',
    list: 'predictions:read',
  },
  predictions: {
    count: 'predictions:read',
    findByIds: 'predictions:read',
    findHashes: 'predictions:write',
    insertMany: 'predictions:write',
    list: 'predictions:read',
    listDetails: 'predictions:read',
    listHorizons: 'predictions:read',
    listLatest: 'predictions:read',
  },
  settings: {
    count: 'settings:write',
    list: 'settings:read',
    lock: 'settings:write',
    purgeRemoved: 'server:maintain of any account',
    upsertMany: 'settings:write',
  },
  signals: {
    count: 'signals:read',
    expireMany: 'server:maintain of any account',
    findByIds: 'signals:read',
    findStanding: 'signals:write',
    insertMany: 'signals:write',
    list: 'signals:read',
    lock: 'signals:write',
    lockKeys: 'signals:write',
    processMany: 'signals:write',
  },
  trades: {
    count: 'trades:read',
    findByClientIds: 'trades:write',
    findByFillKeys: 'trades:write',
    findByIds: 'trades:read',
    insertMany: 'trades:write',
    list: 'trades:read',
    listByOrders: 'trades:read',
    listByPositions: 'trades:read',
  },
  tradingPerformance: {
    list: 'trades:read',
  },
};

const OF_ANY_ACCOUNT = ' of any account';

interface Restricted {
  readonly datasources: Datasources;
  readonly actor: Actor;
}

const RESTRICTIONS = Object.fromEntries(
  Object.entries(RULES).map(([name, rules]) => {
    const checks = checksOf(rules);
    // Rules has the keys of Datasources.
    const repository = name as keyof Datasources;
    return [
      name,
      ({ datasources, actor }: Restricted) => restrictOne(datasources[repository], checks, actor),
    ];
  }),
);

const makeRestricted = lazily<Restricted, typeof RESTRICTIONS>(RESTRICTIONS);

/** The same repositories, each operation refused unless `actor` may do it. */
export function restrict(datasources: Datasources, actor: Actor): Datasources {
  // It has the properties of Datasources, whose operations are wrapped as they are.
  return makeRestricted({ datasources, actor }) as unknown as Datasources;
}

interface Check {
  readonly operation: string;
  readonly permission: Permission;
  readonly isOfAnyAccount: boolean;
}

function checksOf(rules: object): readonly Check[] {
  return Object.entries(rules as Record<string, string>).map(([operation, rule]) => {
    const isOfAnyAccount = rule.endsWith(OF_ANY_ACCOUNT);
    const permission = isOfAnyAccount ? rule.slice(0, -OF_ANY_ACCOUNT.length) : rule;
    // Rules are made of permissions.
    return { operation, permission: permission as Permission, isOfAnyAccount };
  });
}

function restrictOne(repository: object, checks: readonly Check[], actor: Actor): object {
  const operations: Record<string, unknown> = {};
  for (const { operation, permission, isOfAnyAccount } of checks) {
    const run: unknown = Reflect.get(repository, operation);
    if (typeof run !== 'function') throw new Error(`no operation ${operation}`);
    operations[operation] = (...values: unknown[]) => {
      assertMay(actor, permission, isOfAnyAccount ? null : String(values[0]));
      return run(...values);
    };
  }
  return operations;
}
