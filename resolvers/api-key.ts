import { type Actor, assertMay, mayHaveAllAccounts, type Role } from '../access.ts';
import type { Context } from '../context.ts';
import { type ApiKey, issueApiKey } from '../datasources/api-key.ts';
import { quote } from '../datasources/id.ts';
import { AppError } from '../errors.ts';
import { assertText } from './check.ts';

/** Keys that are neither revoked nor expired. */
export const API_KEYS_MAX = 1000;
export const API_KEY_ACCOUNTS_MAX = 100;

/**
 * The keys, oldest first: all of them, or, for an actor that is bound to accounts, those that are
 * for some of these alone.
 *
 * @throws AppError FORBIDDEN
 */
export async function apiKeys(context: Context): Promise<readonly ApiKey[]> {
  assertMay(context.actor, 'keys:read', null);
  const keys = await context.datasources.apiKeys.list();
  return keys.filter((key) => isWithin(context.actor, key.accounts));
}

/**
 * Makes a key. `secret` is what a client sends and exists in this answer alone: a repeat under the
 * same idempotency key gets an empty one.
 *
 * @throws AppError BAD_INPUT for a key without accounts that is for neither an OPERATOR nor an
 * ADMIN; FORBIDDEN for accounts beyond those of the actor; NOT_FOUND for an account; CONFLICT over
 * 1000 keys
 */
export async function createApiKey(
  context: Context,
  input: { name: string; role: Role; accounts: readonly string[]; expiresAt?: string | null },
): Promise<{ readonly id: string; readonly secret: string }> {
  const { actor, unit } = context;
  assertMay(actor, 'keys:write', null);
  if (unit === null) throw new Error('a key outside of a mutation');
  unit.enter('ATOMIC');
  assertText(input.name, ['input', 'name']);
  const accounts = [...new Set(input.accounts)].sort();
  await assertAccounts(context, input.role, accounts);
  const expiresAt = input.expiresAt ?? null;
  if (expiresAt !== null && expiresAt <= unit.at) {
    throw new AppError('BAD_INPUT', `${expiresAt} is over already.`, {
      path: ['input', 'expiresAt'],
    });
  }
  const { apiKeys: repository } = context.datasources;
  if ((await repository.countCurrent()) >= API_KEYS_MAX) {
    throw new AppError('CONFLICT', `There are ${API_KEYS_MAX} keys already: revoke one first.`);
  }
  const { name, role } = input;
  const { key, token } = issueApiKey({ name, role, accounts, expiresAt }, unit.at);
  unit.withhold(token);
  await repository.insert(key);
  return { id: key.id, secret: token };
}

async function assertAccounts(
  context: Context,
  role: Role,
  accounts: readonly string[],
): Promise<void> {
  const path = ['input', 'accounts'];
  if (accounts.length > API_KEY_ACCOUNTS_MAX) {
    throw new AppError('BAD_INPUT', `A key is for at most ${API_KEY_ACCOUNTS_MAX} accounts.`, {
      path,
    });
  }
  if (accounts.length === 0 && !mayHaveAllAccounts(role)) {
    throw new AppError('BAD_INPUT', `Name the accounts: a ${role} is not for all of them.`, {
      path,
    });
  }
  if (!isWithin(context.actor, accounts)) {
    throw new AppError('FORBIDDEN', 'A key is for no more accounts than the one that makes it.', {
      path,
    });
  }
  const rows = await context.datasources.accounts.findByIds(accounts);
  const missing = accounts.find((_id, place) => !rows[place]);
  if (missing !== undefined) {
    throw new AppError('NOT_FOUND', `There is no account ${quote(missing)}.`, { path });
  }
}

/**
 * Ends a key, on this node before the answer is sent, on others within seconds. False where there
 * is no key of this id that the actor may see, or it was revoked before.
 *
 * @throws AppError FORBIDDEN
 */
export async function revokeApiKey(context: Context, id: string): Promise<boolean> {
  assertMay(context.actor, 'keys:write', null);
  context.unit?.enter('ATOMIC');
  const { apiKeys: repository } = context.datasources;
  const key = await repository.findById(id);
  if (key === null || !isWithin(context.actor, key.accounts)) return false;
  return repository.revoke(id);
}

/** Whether a key for these accounts (none: all) reaches no further than the actor does. */
function isWithin(actor: Actor, accounts: readonly string[]): boolean {
  const own = actor.accounts;
  if (own === null) return true;
  return accounts.length > 0 && accounts.every((id) => own.includes(id));
}
