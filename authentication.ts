import { timingSafeEqual } from 'node:crypto';
import { type Actor, permissionsOf } from './access.ts';
import { type ApiKey, readToken, type StoredApiKey } from './datasources/api-key.ts';
import { millisecondsOf } from './datasources/instant.ts';
import { AppError } from './errors.ts';

/** Tells who asks, from memory: no request waits for the database to be known. */
export interface Authentication {
  /**
   * The actor of an `Authorization` value: `Bearer tw_…`. What one connection sends again and again
   * is hashed once, and compared with the key each time.
   *
   * @throws AppError UNAUTHENTICATED
   */
  authenticate(authorization: string | null | undefined, connection?: object): Actor;
  /** Whether this actor is still somebody: false once its key is revoked, changed or expired. */
  isCurrent(actor: Actor): boolean;
  /** Reads the keys now; then every few seconds, so that a revoked key ends on every node. */
  refresh(): Promise<void>;
  /** Another node may have changed keys: they are read again soon, once for many calls. */
  refreshSoon(): void;
  /** Called when the keys were read, or could not be, and somebody is nobody any more since. */
  onEnded(listener: () => void): void;
  /** When keys were used since the last call: Unix milliseconds by id. */
  takeUses(): ReadonlyMap<string, number>;
  /** Takes uses back that were not written down; later ones of the same key stand. */
  giveBackUses(uses: ReadonlyMap<string, number>): void;
  close(): void;
}

const REFRESH_MS = 5000;
const REFRESH_AFTER_MISS_MS = 250;
const REFRESH_SOON_MS = 100;

export function createAuthentication(
  listKeys: () => Promise<readonly StoredApiKey[]>,
  onError: (error: unknown) => void,
): Authentication {
  let actors = new Map<string, { readonly secretHash: Buffer; readonly actor: Actor }>();
  let lastRefreshAt = Number.NEGATIVE_INFINITY;
  let uses = new Map<string, number>();
  let refreshesBegun = 0;
  let newestRead = 0;
  let soon: NodeJS.Timeout | null = null;
  const endings = createEndings();

  async function refresh(): Promise<void> {
    try {
      await read();
    } finally {
      // A key expires without a word of the database, too.
      endings.look([...actors.values()].map(({ actor }) => actor));
    }
  }

  async function read(): Promise<void> {
    lastRefreshAt = performance.now();
    refreshesBegun += 1;
    const turn = refreshesBegun;
    const keys = await listKeys();
    // One that began later has ended before: what was read here may be older than it.
    if (turn < newestRead) return;
    newestRead = turn;
    const known = new Map<string, { readonly secretHash: Buffer; readonly actor: Actor }>();
    for (const key of keys) {
      if (key.revokedAt !== null) continue;
      const before = actors.get(key.id);
      // The same object as long as nothing changed: isCurrent compares objects.
      const actor = before !== undefined && isSame(before.actor, key) ? before.actor : toActor(key);
      known.set(key.id, { secretHash: Buffer.from(key.secretHash, 'hex'), actor });
    }
    actors = known;
  }

  function refreshInBackground(): void {
    refresh().catch(onError);
  }

  const timer = setInterval(refreshInBackground, REFRESH_MS);
  timer.unref();

  return {
    authenticate(authorization, connection) {
      const token = tokenOf(authorization ?? '', connection);
      const known = token === null ? undefined : actors.get(token.id);
      if (token === null || known === undefined) {
        // A key made on another node a moment ago: known at the client's next try.
        if (performance.now() - lastRefreshAt > REFRESH_AFTER_MISS_MS) refreshInBackground();
        throw new AppError('UNAUTHENTICATED', 'The key is unknown or was revoked.');
      }
      if (!timingSafeEqual(known.secretHash, token.secretHash)) {
        throw new AppError('UNAUTHENTICATED', 'The key is unknown or was revoked.');
      }
      if (isExpired(known.actor)) throw new AppError('UNAUTHENTICATED', 'The key has expired.');
      uses.set(token.id, Date.now());
      return known.actor;
    },
    isCurrent(actor) {
      const known = actors.get(actor.name.slice(ACTOR_PREFIX.length));
      return known?.actor === actor && !isExpired(actor);
    },
    refresh,
    refreshSoon() {
      if (soon !== null) return;
      soon = setTimeout(() => {
        soon = null;
        refreshInBackground();
      }, REFRESH_SOON_MS);
      soon.unref();
    },
    onEnded: endings.onEnded,
    takeUses() {
      const taken = uses;
      uses = new Map();
      return taken;
    },
    giveBackUses(taken) {
      uses = new Map([...taken, ...uses]);
    },
    close() {
      clearInterval(timer);
      if (soon !== null) clearTimeout(soon);
    },
  };
}

interface Token {
  readonly id: string;
  readonly secretHash: Buffer;
}

/** What each open connection has sent last; it goes with its connection. */
const lastTokens = new WeakMap<object, { readonly authorization: string; readonly token: Token }>();

/** Null for what is no token. @throws AppError UNAUTHENTICATED for another scheme */
function tokenOf(authorization: string, connection: object | undefined): Token | null {
  const last = connection === undefined ? undefined : lastTokens.get(connection);
  if (last?.authorization === authorization) return last.token;
  const [scheme, text] = authorization.split(' ');
  if (scheme?.toLowerCase() !== 'bearer' || text === undefined) {
    throw new AppError('UNAUTHENTICATED', 'Send the header `Authorization: Bearer tw_…`.');
  }
  const read = readToken(text);
  if (read === null) return null;
  const token = { id: read.id, secretHash: Buffer.from(read.secretHash, 'hex') };
  if (connection !== undefined) lastTokens.set(connection, { authorization, token });
  return token;
}

/** Tells when somebody of the last look is nobody any more. */
function createEndings() {
  const listeners: (() => void)[] = [];
  let current: ReadonlySet<Actor> = new Set();
  return {
    onEnded(listener: () => void): void {
      listeners.push(listener);
    },
    look(actors: readonly Actor[]): void {
      const before = current;
      current = new Set(actors.filter((actor) => !isExpired(actor)));
      if ([...before].every((actor) => current.has(actor))) return;
      for (const listener of listeners) listener();
    },
  };
}

const ACTOR_PREFIX = 'key:';

function toActor(key: ApiKey): Actor {
  return {
    name: `${ACTOR_PREFIX}${key.id}`,
    role: key.role,
    permissions: permissionsOf(key.role),
    accounts: key.accounts.length === 0 ? null : key.accounts,
    expiresAtMs: key.expiresAt === null ? null : millisecondsOf(key.expiresAt),
  };
}

function isSame(actor: Actor, key: ApiKey): boolean {
  const other = toActor(key);
  return (
    actor.role === other.role &&
    actor.expiresAtMs === other.expiresAtMs &&
    JSON.stringify(actor.accounts) === JSON.stringify(other.accounts)
  );
}

function isExpired(actor: Actor): boolean {
  return actor.expiresAtMs !== null && actor.expiresAtMs <= Date.now();
}
