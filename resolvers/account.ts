import { requireAccount, type Role } from '../access.ts';
import type { Context } from '../context.ts';
import type { Account } from '../datasources/account.ts';

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
