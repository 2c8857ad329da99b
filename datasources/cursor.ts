import { AppError } from '../errors.ts';
import { quote } from './id.ts';

/** A place in one history of an account's log: everything up to this seq was seen. */
export interface Place {
  readonly epoch: string;
  readonly seq: number;
}

/** A place as clients have it. */
export interface Cursor extends Place {
  /**
   * How the hash of that change begins, or the whole of it; empty where there is none. A copy of
   * the data that is taken up again has the same epoch and gives its seqs a second time: by the
   * hash it is known whether they are of the same changes.
   */
  readonly hash: string;
}

const CURSOR = /^([0-9a-z]{1,16})\.(\d{1,15})(?:\.([0-9a-f]{8}))?$/;
const HASH_DIGITS = 8;

/** `<epoch>.<seq>.<beginning of the hash>`; without the last part where there is no hash. */
export function encodeCursor(epoch: string, seq: number | string, hash: string): string {
  const proof = hash === '' ? '' : `.${hash.slice(0, HASH_DIGITS)}`;
  return `${epoch}.${seq}${proof}`;
}

/** Whether the change at the cursor's place is the one it was made for; by its hash, in hex. */
export function isSameChange(cursor: Cursor, hash: string | null): boolean {
  // Made by an earlier release, or before the first change.
  if (cursor.hash === '') return true;
  return hash?.startsWith(cursor.hash.slice(0, HASH_DIGITS)) ?? false;
}

/** @throws AppError BAD_INPUT for what is no cursor */
export function decodeCursor(text: string, path: readonly string[] = ['after']): Cursor {
  const [, epoch, seq, hash = ''] = CURSOR.exec(text) ?? [];
  if (epoch === undefined || seq === undefined) {
    throw new AppError('BAD_INPUT', `${quote(text)} is not a cursor of a stream or of the log.`, {
      path,
    });
  }
  return { epoch, seq: Number(seq), hash };
}
