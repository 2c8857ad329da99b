import { assertMay, requireAccount, type Role } from '../access.ts';
import type { Context } from '../context.ts';
import { type Account, SYSTEM_ACCOUNT } from '../datasources/account.ts';
import type { TradingState } from '../datasources/change-recorder.ts';
import { isAccountId, quote } from '../datasources/id.ts';
import { AppError } from '../errors.ts';
import { assertText } from './check.ts';

export interface Viewer {
  readonly actor: string;
  readonly role: Role;
  readonly permissions: readonly string[];
}

/** Who asks, as the server sees it. */
export function viewer(context: Context): Viewer {
  const { name, role, permissions } = context.actor;
  return { actor: name, role, permissions: [...permissions].sort() };
}

/** The accounts that the actor may read, by id. */
export async function viewerAccounts(context: Context): Promise<readonly Account[]> {
  const { accounts } = context.datasources;
  const ids = context.actor.accounts ?? (await accounts.listIds());
  const rows = await accounts.findByIds([...ids].sort());
  return rows.filter((row) => row !== null);
}

/** @throws AppError NOT_FOUND, FORBIDDEN */
export async function account(context: Context, input: { id?: string | null }): Promise<Account> {
  const accountId = requireAccount(context.actor, input.id, 'accounts:read');
  return context.datasources.accounts.get(accountId);
}

/**
 * Adds an account. One that is there already with the same name and mode is answered as it is, so
 * that the request may be repeated.
 *
 * @throws AppError BAD_INPUT for an id that is no slug; CONFLICT where it names another account;
 * FORBIDDEN
 */
export async function createAccount(
  context: Context,
  input: { id: string; name: string; hedgeMode?: boolean | null },
): Promise<Account> {
  const { id, name } = input;
  context.unit?.enter('ATOMIC');
  assertMay(context.actor, 'accounts:write', id);
  if (!isAccountId(id) || id === SYSTEM_ACCOUNT) {
    throw new AppError(
      'BAD_INPUT',
      `${quote(id)} is not an account id: up to 40 of a-z, 0-9 and -, a letter first.`,
      { path: ['input', 'id'] },
    );
  }
  assertText(name, ['input', 'name']);
  const hedgeMode = input.hedgeMode ?? false;
  const { accounts } = context.datasources;
  const isNew = await accounts.insert({ id, name, hedgeMode });
  const created = await accounts.get(id);
  if (!isNew && (created.name !== name || created.hedgeMode !== hedgeMode)) {
    throw new AppError('CONFLICT', `There is another account ${quote(id)} already.`, {
      path: ['input', 'id'],
    });
  }
  return created;
}

/**
 * Sets what new risk the account may take; the account as it is after that.
 *
 * @throws AppError BAD_INPUT, FORBIDDEN, NOT_FOUND
 */
export async function setTradingState(
  context: Context,
  input: { account?: string | null; state: TradingState; reason: string },
): Promise<Account> {
  const accountId = requireAccount(context.actor, input.account, 'trading-state:write');
  context.unit?.enter('ATOMIC');
  assertText(input.reason, ['input', 'reason']);
  return context.datasources.accounts.setTradingState(accountId, input.state, input.reason);
}
