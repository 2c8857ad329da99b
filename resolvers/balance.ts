import { requireAccount } from '../access.ts';
import type { Context } from '../context.ts';
import type { Balance, BalanceKey } from '../datasources/balance.ts';
import { Decimal, toAmount } from '../datasources/decimal.ts';
import { quote } from '../datasources/id.ts';
import { AppError } from '../errors.ts';
import { enterBatch } from './batch.ts';
import { assertExchange, assertNotNegative } from './check.ts';

/** Of one account; a list of them is read whole. */
export const BALANCES_MAX = 5000;

const ASSET = /^[A-Z0-9][A-Z0-9._-]{0,31}$/;

/** All balances, or those of one exchange, by exchange and asset. */
export async function balances(
  context: Context,
  input: { account?: string | null; exchange?: string | null },
): Promise<readonly Balance[]> {
  const accountId = requireAccount(context.actor, input.account, 'balances:read');
  return context.datasources.balances.list(accountId, input.exchange ?? null);
}

export interface BalanceItem extends BalanceKey {
  readonly free: string;
  readonly locked: string;
}

/**
 * Stores what an account has now. A balance whose amounts are the known ones is left as it is,
 * with the instant of its last change. All of them or, when one is refused, none. The rows, in
 * input order.
 *
 * @throws AppError BATCH_TOO_LARGE over 1000 items; BAD_INPUT naming the first bad item; CONFLICT
 * when the account would have more than 5000; FORBIDDEN
 */
export async function upsertBalances(
  context: Context,
  input: { account?: string | null; items: readonly BalanceItem[] },
): Promise<readonly Balance[]> {
  const accountId = requireAccount(context.actor, input.account, 'balances:write');
  const { unit } = enterBatch(context.unit, 'ATOMIC', input.items);
  const seen = new Set<string>();
  for (const [index, item] of input.items.entries()) {
    checkItem(item, ['input', 'items', String(index)], seen);
  }
  const { balances: repository } = context.datasources;
  const known = new Map(
    (await repository.lock(accountId, input.items)).map((row) => [keyOf(row), row]),
  );
  const updates = input.items.map(({ exchange, asset, free, locked }) => {
    const before = known.get(keyOf({ exchange, asset })) ?? null;
    const isSame = before?.free === free && before.locked === locked;
    return {
      before,
      next: isSame ? before : { exchange, asset, free, locked, updatedAt: unit.at },
    };
  });
  const changed = updates.filter(({ before, next }) => next !== before);
  if (changed.length > 0) {
    if (!(await repository.upsertMany(accountId, changed))) {
      throw new AppError('SERIALIZATION_FAILURE', 'Another request stored one of the balances.');
    }
    if (changed.some(({ before }) => before === null)) await assertRoom(context, accountId);
  }
  return updates.map(({ next }) => next);
}

/** What is free and what is locked together. */
export function totalOf({ free, locked }: Balance): string {
  return toAmount(new Decimal(free).plus(locked));
}

function checkItem(item: BalanceItem, path: readonly string[], seen: Set<string>): void {
  assertExchange(item.exchange, [...path, 'exchange']);
  if (!ASSET.test(item.asset)) {
    const message = `${quote(item.asset)} is not an asset: write it like USDT, in upper case.`;
    throw new AppError('BAD_INPUT', message, { path: [...path, 'asset'] });
  }
  assertNotNegative(item.locked, [...path, 'locked']);
  const key = keyOf(item);
  if (seen.has(key)) {
    throw new AppError('BAD_INPUT', `The balance ${key} stands in the batch twice.`, { path });
  }
  seen.add(key);
}

async function assertRoom(context: Context, accountId: string): Promise<void> {
  const count = await context.datasources.balances.count(accountId);
  if (count <= BALANCES_MAX) return;
  throw new AppError('CONFLICT', `An account has at most ${BALANCES_MAX} balances.`, {
    path: ['input', 'items'],
  });
}

function keyOf({ exchange, asset }: BalanceKey): string {
  return `${exchange} ${asset}`;
}
