import { link, lstat, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { issueApiKey, readToken } from './datasources/api-key.ts';
import { instantOf } from './datasources/instant.ts';
import type { Call } from './datasources/lane.ts';
import type { UnitsOfWork } from './datasources/unit-of-work.ts';
import { FatalError } from './errors.ts';

/** The first key of an installation: its file, and its text where this user may read it. */
export interface AdminKey {
  readonly file: string;
  readonly token: string | null;
  readonly isNew: boolean;
}

/**
 * Makes the first ADMIN key of a database that has none, in a file that only this user reads. It
 * stands beside that file until it is committed, and is taken up from there by the next start if
 * this one is killed meanwhile: there is never a key that nobody has, and no file is written over.
 *
 * @throws FatalError when the file is there and the database has no key
 */
export async function ensureAdminKey(
  file: string,
  units: UnitsOfWork,
  call: Call,
): Promise<AdminKey> {
  const request = { call, actor: 'system', operationName: 'firstKey', idempotency: null };
  const outcome = await units.run(request, async ({ apiKeys }) => {
    const isNew = await apiKeys.lockWhileEmpty();
    const token = isNew ? await setAside(file) : await readSecret(besideOf(file));
    const known = token === null ? null : readToken(token);
    if (isNew && known !== null) {
      const { key } = issueApiKey(FIRST, instantOf(Date.now()));
      await apiKeys.insert({ ...key, ...known });
    }
    const isOurs =
      isNew ||
      (known !== null &&
        (await apiKeys.list()).some(
          ({ id, secretHash }) => id === known.id && secretHash === known.secretHash,
        ));
    return { response: { isNew, token: isOurs ? token : null }, failure: null, serialize: unused };
  });
  if (outcome.kind === 'replayed') return unused();
  const { isNew, token } = outcome.response;
  if (token !== null) await publish(file, token);
  return { file, token: token ?? (await readSecret(file)), isNew };
}

const FIRST = { name: 'first key', role: 'ADMIN', accounts: [], expiresAt: null } as const;

function unused(): never {
  throw new Error('a unit without a key stores no answer');
}

/** Where a key stands that may not be committed yet. */
function besideOf(file: string): string {
  return `${file}.new`;
}

/** The token that the next start finds, whatever becomes of this one. */
async function setAside(file: string): Promise<string> {
  if (await isThere(file)) {
    throw new FatalError(
      `${file} is there, but this database has no key: the file is of another database. Move it ` +
        'away, or set TRADEWIND_HOME to another folder, and start again.',
    );
  }
  const beside = besideOf(file);
  const left = await readSecret(beside);
  // One that was written only in part was never committed.
  if (left !== null && readToken(left) !== null) return left;
  const { token } = issueApiKey(FIRST, instantOf(Date.now()));
  try {
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    await rm(beside, { force: true });
    // Of two starts one makes the file, and the other one fails.
    await writeFile(beside, `${token}\n`, { mode: 0o600, flag: 'wx', flush: true });
  } catch (error) {
    throw new FatalError(`The first key cannot be kept in ${file}: ${(error as Error).message}`);
  }
  return token;
}

/** Whoever it belongs to. */
async function isThere(file: string): Promise<boolean> {
  try {
    await lstat(file);
    return true;
  } catch {
    // What else is wrong with its folder is told when the key is to be written there.
    return false;
  }
}

/** Gives a committed key its place, which it takes from nothing. */
async function publish(file: string, token: string): Promise<void> {
  const beside = besideOf(file);
  try {
    await link(beside, file);
  } catch (error) {
    // Another start of this installation has done so.
    if ((await readSecret(file)) !== token) {
      throw new FatalError(
        `The first key of this database is in ${beside}, and cannot be moved to ${file}: ` +
          `${(error as Error).message}`,
      );
    }
  }
  await rm(beside, { force: true });
}

async function readSecret(file: string): Promise<string | null> {
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch {
    // It was moved away, or belongs to another user: `tradewind keys create` makes one.
    return null;
  }
}
