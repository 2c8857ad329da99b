import { LRUCache } from 'lru-cache';
import type { Basis, Heads } from './heads.ts';

/** A whole answer as it was sent, for whoever sends the same request in the same scope. */
export interface Answer {
  readonly bytes: number;
  readonly basis: readonly Basis[];
  /** Unix milliseconds. */
  readonly expiresAtMs: number;
  readonly operationName: string | null;
  /** Reads that it is made of: so many hits it is when it is given again. */
  readonly reads: number;
  /** Units that it is charged with, made anew or given again. */
  readonly cost: number;
  /** Made when it is first given again: most answers never are. */
  body(): Buffer;
}

/** Answers of this process, given again as long as everything in them is current. */
export interface AnswerCache {
  /** An answer that is current now; null: there is none, or nobody can say. */
  find(key: string): Promise<Answer | null> | Answer | null;
  /** Keeps an answer; one that is longer than ANSWER_BYTES_MAX or rests on nothing is not kept. */
  put(key: string, answer: Answer): void;
  figures(): { readonly entries: number; readonly bytes: number };
}

export interface AnswerCacheOptions {
  readonly heads: Heads;
  /** Unix milliseconds. */
  readonly nowMs?: () => number;
  readonly entriesMax?: number;
  readonly bytesMax?: number;
}

const ANSWER_BYTES_MAX = 256 * 1024;
const ENTRIES_MAX = 5000;
const BYTES_MAX = 64 * 1024 * 1024;

export function createAnswerCache(options: AnswerCacheOptions): AnswerCache {
  const { heads, nowMs = Date.now, entriesMax = ENTRIES_MAX, bytesMax = BYTES_MAX } = options;
  const answers = new LRUCache<string, Answer>({
    max: entriesMax,
    maxSize: bytesMax,
    sizeCalculation: ({ bytes }, key) => bytes + key.length,
  });

  function judge(key: string, answer: Answer, isCurrent: boolean | null): Answer | null {
    if (isCurrent === true) return answer;
    if (isCurrent === false) answers.delete(key);
    return null;
  }

  return {
    find(key) {
      const answer = answers.get(key);
      if (answer === undefined) return null;
      if (answer.expiresAtMs <= nowMs()) return judge(key, answer, false);
      const isCurrent = heads.isCurrent(answer.basis);
      if (isCurrent !== null) return judge(key, answer, isCurrent);
      return heads
        .refresh(answer.basis.map(({ accountId }) => accountId))
        .then(() => judge(key, answer, heads.isCurrent(answer.basis)));
    },
    put(key, answer) {
      if (answer.bytes > ANSWER_BYTES_MAX || answer.basis.length === 0) return;
      answers.set(key, answer);
    },
    figures: () => ({ entries: answers.size, bytes: answers.calculatedSize }),
  };
}
