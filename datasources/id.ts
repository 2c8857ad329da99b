import { hash as digest, randomUUID } from 'node:crypto';
import { AppError } from '../errors.ts';

/** The kinds of things that have a global id. */
export type IdKind = 'account' | 'alert' | 'order' | 'position' | 'prediction' | 'signal' | 'trade';

export interface GlobalId {
  readonly kind: IdKind;
  readonly accountId: string;
  readonly id: string;
}

const KINDS: ReadonlySet<string> = new Set<IdKind>([
  'account',
  'alert',
  'order',
  'position',
  'prediction',
  'signal',
  'trade',
]);
const ACCOUNT = /^(?:[a-z][a-z0-9-]{0,39}|_system)$/;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Whether a text can be the id of an account. */
export function isAccountId(text: string): boolean {
  return ACCOUNT.test(text);
}

/** The readable id of a row: `position.main.0199…`. */
export function encodeId(kind: IdKind, accountId: string, id: string): string {
  return `${kind}.${accountId}.${id}`;
}

/** The parts of a global id; an account's slug is one too. Null where the text is none. */
export function decodeId(text: string): GlobalId | null {
  const [kind, accountId, id, ...rest] = text.split('.');
  if (kind === undefined) return null;
  if (accountId === undefined) {
    return isAccountId(kind) ? { kind: 'account', accountId: kind, id: kind } : null;
  }
  if (id === undefined || rest.length > 0 || !KINDS.has(kind)) return null;
  if (!ACCOUNT.test(accountId) || !UUID.test(id)) return null;
  // Just checked against the set of kinds.
  return { kind: kind as IdKind, accountId, id };
}

/**
 * The row id inside a global id that has to be of this kind and account.
 *
 * @throws AppError BAD_INPUT that says which of the two it is not
 */
export function requireId(
  text: string,
  kind: IdKind,
  accountId: string,
  path: readonly string[],
): string {
  const decoded = decodeId(text);
  if (decoded === null || (decoded.kind === 'account' && kind !== 'account')) {
    throw new AppError('BAD_INPUT', `${quote(text)} is not the id of a ${kind}.`, { path });
  }
  if (decoded.kind !== kind) {
    throw new AppError('BAD_INPUT', `${quote(text)} is the id of a ${decoded.kind}, not ${kind}.`, {
      path,
    });
  }
  if (decoded.accountId !== accountId) {
    throw new AppError('BAD_INPUT', `${quote(text)} does not belong to account ${accountId}.`, {
      path,
    });
  }
  return decoded.id;
}

/** A text of a client as it may stand in a message: short and on one line. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}

/** A UUIDv7 of this instant (Unix milliseconds) with random bits. */
export function uuidOf(timeMs: number): string {
  // One of these costs a tenth of asking for random bytes: they come from a pool of them.
  const random = randomUUID();
  return formatUuid(timeMs, random.slice(0, 8) + random.slice(9, 13) + random.slice(24));
}

/** A UUIDv7 of this instant whose other bits are a hash of the row's natural key. */
export function uuidOfKey(timeMs: number, naturalKey: string): string {
  return formatUuid(timeMs, digest('sha256', naturalKey, 'hex'));
}

function formatUuid(timeMs: number, hex: string): string {
  const time = timeMs.toString(16).padStart(12, '0');
  const variant = VARIANTS[Number.parseInt(hex.charAt(3), 16) & 3];
  return `${time.slice(0, 8)}-${time.slice(8)}-7${hex.slice(0, 3)}-${variant}${hex.slice(4, 7)}-${hex.slice(7, 19)}`;
}

const VARIANTS = ['8', '9', 'a', 'b'];
