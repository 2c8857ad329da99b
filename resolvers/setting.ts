import { requireAccount } from '../access.ts';
import type { Context } from '../context.ts';
import { quote } from '../datasources/id.ts';
import type { LockedSetting, Setting, SettingUpdate } from '../datasources/setting.ts';
import { AppError } from '../errors.ts';
import { BATCH_ITEMS_MAX, enterBatch } from './batch.ts';
import { assertJson, assertText } from './check.ts';

/** Of one account; a list of them is read whole. */
export const SETTINGS_MAX = 1000;

/**
 * All settings, or those of these keys, by key; a key without a setting is left out.
 *
 * @throws AppError BAD_INPUT over 1000 keys; FORBIDDEN
 */
export async function settings(
  context: Context,
  input: { account?: string | null; keys?: readonly string[] | null },
): Promise<readonly Setting[]> {
  const accountId = requireAccount(context.actor, input.account, 'settings:read');
  if (input.keys && input.keys.length > BATCH_ITEMS_MAX) {
    throw new AppError('BAD_INPUT', `At most ${BATCH_ITEMS_MAX} keys are allowed.`, {
      path: ['keys'],
    });
  }
  return context.datasources.settings.list(accountId, input.keys ?? null);
}

export interface SettingItem {
  readonly key: string;
  /** Null: removed. */
  readonly value?: unknown;
  readonly expectedVersion?: number | null;
}

/**
 * Sets and removes settings. A value that is the same already keeps its version. All of them or,
 * when one is refused, none. Those that are set, in input order; removed ones are left out.
 *
 * @throws AppError CONFLICT naming the first whose version is not the expected one (0: it is not
 * set), or when the account would have more than 1000; BATCH_TOO_LARGE, BAD_INPUT, FORBIDDEN
 */
export async function putSettings(
  context: Context,
  input: { account?: string | null; items: readonly SettingItem[] },
): Promise<readonly Setting[]> {
  const accountId = requireAccount(context.actor, input.account, 'settings:write');
  const { unit } = enterBatch(context.unit, 'ATOMIC', input.items);
  const seen = new Set<string>();
  const items = input.items.map((item, index) => {
    checkItem(item, pathOf(index), seen);
    return { ...item, value: item.value ?? null };
  });
  const { settings: repository } = context.datasources;
  const known = new Map((await repository.lock(accountId, items)).map((row) => [row.key, row]));
  const updates = items.map((item, index): SettingUpdate & { readonly isSame: boolean } => {
    const row = known.get(item.key);
    assertVersion(item, row, pathOf(index));
    const { key, value } = item;
    if (isSame(item.value, row)) return { isSame: true, before: null, next: row ?? NOTHING };
    return {
      isSame: false,
      before: beforeOf(row),
      next: { key, value, version: (row?.version ?? 0) + 1, updatedAt: unit.at },
    };
  });
  const changed = updates.filter((update) => !update.isSame);
  if (changed.length > 0) {
    if (!(await repository.upsertMany(accountId, changed))) {
      throw new AppError('SERIALIZATION_FAILURE', 'Another request stored one of the settings.');
    }
    if (changed.some(({ next }) => next.version === 1)) await assertRoom(context, accountId);
  }
  return updates.flatMap(({ next }) => (next.value === null ? [] : [next]));
}

/** What is to be removed and is not there. */
const NOTHING: Setting = { key: '', value: null, version: 0, updatedAt: '' };

function pathOf(index: number): readonly string[] {
  return ['input', 'items', String(index)];
}

function checkItem(item: SettingItem, path: readonly string[], seen: Set<string>): void {
  assertText(item.key, [...path, 'key']);
  if (item.value === undefined) {
    throw new AppError('BAD_INPUT', 'Give a value, or null to remove the setting.', {
      path: [...path, 'value'],
    });
  }
  assertJson(item.value, [...path, 'value']);
  if (seen.has(item.key)) {
    throw new AppError('BAD_INPUT', `The key ${quote(item.key)} stands in the batch twice.`, {
      path,
    });
  }
  seen.add(item.key);
}

function isSame(value: unknown, row: LockedSetting | undefined): boolean {
  return row === undefined ? value === null : row.isSame;
}

function beforeOf(row: LockedSetting | undefined): Setting | null {
  if (row === undefined || row.value === null) return null;
  const { isSame: _isSame, ...before } = row;
  return before;
}

function assertVersion(
  item: SettingItem,
  row: LockedSetting | undefined,
  path: readonly string[],
): void {
  const { expectedVersion, key } = item;
  if (expectedVersion === null || expectedVersion === undefined) return;
  const version = row === undefined || row.value === null ? 0 : row.version;
  if (version === expectedVersion) return;
  const found = version === 0 ? 'is not set' : `is at version ${version}`;
  throw new AppError('CONFLICT', `The setting ${quote(key)} ${found}, not ${expectedVersion}.`, {
    path: [...path, 'expectedVersion'],
    details: { key, version },
  });
}

async function assertRoom(context: Context, accountId: string): Promise<void> {
  const count = await context.datasources.settings.count(accountId);
  if (count <= SETTINGS_MAX) return;
  throw new AppError(
    'CONFLICT',
    `An account has at most ${SETTINGS_MAX} settings; removed ones count for three days.`,
    { path: ['input', 'items'] },
  );
}
