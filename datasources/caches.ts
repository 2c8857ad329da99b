import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { type AnswerCache, createAnswerCache } from './answer-cache.ts';
import { createMemoryStore } from './cache-store.ts';
import { renewEpoch } from './change.ts';
import type { Database } from './database.ts';
import { createHeads, type Heads } from './heads.ts';
import { readIdentity } from './history.ts';
import type { Call } from './lane.ts';
import { createRedisStore } from './redis-store.ts';
import type { BreakerFigures } from './resilience.ts';
import { createResultCache, type ResultCache } from './result-cache.ts';

/** What this process keeps of what it has read, and how it knows whether that is still so. */
export interface Caches {
  readonly heads: Heads;
  readonly results: ResultCache;
  readonly answers: AnswerCache;
  /** Of Redis; null: none is configured. */
  readonly redisBreaker: (() => BreakerFigures) | null;
  close(): Promise<void>;
}

export interface CachesOptions {
  readonly database: Database;
  readonly log: Logger;
  readonly redisUrl: string | null;
  /** Off: nothing is kept, and everything is read anew. */
  readonly isOn: boolean;
  /** Whether nobody else writes to this database. */
  readonly isSoleWriter: boolean;
  /** For what no client asks for. */
  readonly callOf: (name: string) => Call;
}

/** @throws FatalError for a Redis URL that is none; DatabaseError */
export async function createCaches(options: CachesOptions): Promise<Caches> {
  const { database, log, redisUrl, isOn, isSoleWriter, callOf } = options;
  const heads = createHeads({
    feed: database.feed,
    isSoleWriter,
    onReplaced(accountId, epoch) {
      log.warn({ accountId, epoch }, 'the log of an account was replaced');
      const renewed = renewEpoch(database.trading.sql(callOf('heads.renew')), accountId, epoch);
      // Nothing of this account is kept until it has another epoch; the next look tries again.
      renewed.catch((error: unknown) => log.warn({ err: error }, 'an epoch could not be renewed'));
    },
  });
  const store =
    redisUrl === null || !isOn
      ? createMemoryStore()
      : createRedisStore({
          url: redisUrl,
          log,
          namespace: await namespaceOf(database, callOf('caches.identity')),
        });
  const { breaker } = store.figures();
  return {
    heads,
    results: createResultCache({ store, heads, isOn }),
    answers: createAnswerCache({ heads }),
    redisBreaker: breaker === null ? null : () => store.figures().breaker ?? breaker,
    close: () => store.close(),
  };
}

/** Of this database and this program: in another version a result may have another shape. */
async function namespaceOf(database: Database, call: Call): Promise<string> {
  const program = createHash('sha256');
  const folder = import.meta.dirname;
  for (const name of (await readdir(folder)).sort()) {
    program.update(name).update(await readFile(join(folder, name)));
  }
  const identity = await readIdentity(database.interactive.sql(call));
  return `${identity}.${program.digest('hex').slice(0, 12)}`;
}
