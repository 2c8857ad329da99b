import { createAnswerCache } from '../../datasources/answer-cache.ts';
import { createMemoryStore } from '../../datasources/cache-store.ts';
import type { Caches } from '../../datasources/caches.ts';
import type { Database } from '../../datasources/database.ts';
import { createHeads } from '../../datasources/heads.ts';
import { createResultCache } from '../../datasources/result-cache.ts';

/** The caches of a process that others write beside. */
export function makeCaches({ feed }: Database): Caches {
  const heads = createHeads({ feed, isSoleWriter: false, onReplaced: () => undefined });
  const store = createMemoryStore();
  return {
    heads,
    results: createResultCache({ store, heads }),
    answers: createAnswerCache({ heads }),
    redisBreaker: null,
    close: () => store.close(),
  };
}
