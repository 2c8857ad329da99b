import { type Actor, assertMay } from './access.ts';
import type { Heads } from './datasources/heads.ts';
import { isAccountId, quote } from './datasources/id.ts';
import { AppError } from './errors.ts';

/** A seq that a client has seen committed: what it is answered must include it. */
export interface MinCommit {
  readonly accountId: string;
  readonly seq: number;
}

const COMMITS_MAX = 20;
const COMMIT = /^ *([\w-]+):(\d{1,16}) *$/;
/** A seq that is ahead of the log is waited for: not for as long as a client would. */
const WAIT_MS_MAX = 1000;

/**
 * The commits that a text names, `main:42` or `main:42, other:7`, or a list like that of
 * `extensions.commit`.
 *
 * @throws AppError BAD_INPUT for anything else, and for more than 20
 */
export function readMinCommits(given: unknown, path: readonly string[]): readonly MinCommit[] {
  const words = Array.isArray(given) ? given.map(wordOf) : textOf(given)?.split(',');
  const commits = words?.map((word) => commitOf(word)) ?? [null];
  if (commits.length <= COMMITS_MAX && commits.every((commit) => commit !== null)) return commits;
  throw new AppError(
    'BAD_INPUT',
    `${quote(textOf(given) ?? 'This')} names no commits: up to ${COMMITS_MAX} like main:42.`,
    { path },
  );
}

/**
 * Resolves when everything that is read from now on includes these commits.
 *
 * @throws AppError FORBIDDEN for another's account; NOT_FOUND; UNAVAILABLE for a seq that is ahead
 * of the log and does not come within a second
 */
export async function reachMinCommits(
  commits: readonly MinCommit[],
  actor: Actor,
  heads: Heads,
  timeMs: number,
): Promise<void> {
  for (const { accountId } of commits) assertMay(actor, 'accounts:read', accountId);
  const endAtMs = performance.now() + Math.min(timeMs, WAIT_MS_MAX);
  for (const { accountId, seq } of commits) {
    await heads.reach(accountId, seq, Math.max(0, endAtMs - performance.now()));
  }
}

function textOf(given: unknown): string | null {
  return typeof given === 'string' ? given : null;
}

function wordOf(given: unknown): string {
  if (typeof given !== 'object' || given === null) return '';
  const { account, seq } = given as Readonly<Record<string, unknown>>;
  return `${account}:${seq}`;
}

function commitOf(word: string): MinCommit | null {
  const [, accountId, digits] = COMMIT.exec(word) ?? [];
  const seq = Number(digits);
  if (accountId === undefined || !isAccountId(accountId)) return null;
  return Number.isSafeInteger(seq) ? { accountId, seq } : null;
}
