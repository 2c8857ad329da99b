import { LRUCache } from 'lru-cache';
import { createAdmission } from './admission.ts';
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
  /** Whether the answer that was made under this key, which begins with a hash, is to be kept. */
  admits(key: string): boolean;
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

interface Kept {
  readonly answer: Answer;
  /** Whether it was given again. */
  isRepeated: boolean;
}

export function createAnswerCache(options: AnswerCacheOptions): AnswerCache {
  const { heads, nowMs = Date.now, entriesMax = ENTRIES_MAX, bytesMax = BYTES_MAX } = options;
  const admission = createAdmission();
  const answers = new LRUCache<string, Kept>({
    max: entriesMax,
    maxSize: bytesMax,
    sizeCalculation: ({ answer }, key) => answer.bytes + key.length,
  });

  function judge(key: string, kept: Kept, isCurrent: boolean | null): Answer | null {
    if (isCurrent === false) answers.delete(key);
    if (isCurrent !== true) return null;
    if (!kept.isRepeated) admission.repeated();
    kept.isRepeated = true;
    return kept.answer;
  }

  return {
    find(key) {
      const kept = answers.get(key);
      if (kept === undefined) return null;
      const { basis, expiresAtMs } = kept.answer;
      if (expiresAtMs <= nowMs()) return judge(key, kept, false);
      const isCurrent = heads.isCurrent(basis);
      if (isCurrent !== null) return judge(key, kept, isCurrent);
      return heads
        .refresh(basis.map(({ accountId }) => accountId))
        .then(() => judge(key, kept, heads.isCurrent(basis)));
    },
    admits: (key) => admission.admits(key),
    put(key, answer) {
      if (answer.bytes > ANSWER_BYTES_MAX || answer.basis.length === 0) return;
      answers.set(key, { answer, isRepeated: false });
    },
    figures: () => ({ entries: answers.size, bytes: answers.calculatedSize }),
  };
}
