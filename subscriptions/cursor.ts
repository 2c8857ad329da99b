import { AppError } from '../errors.ts';
import type { Head } from '../datasources/change.ts';
import { quote } from '../datasources/id.ts';

/** A place in one history of an account's log. */
export interface Cursor {
  readonly epoch: string;
  readonly seq: number;
}

const CURSOR = /^([0-9a-f]{8})\.(\d{1,15})$/;

export function encodeCursor({ epoch, seq }: Cursor): string {
  return `${epoch}.${seq}`;
}

/** @throws AppError BAD_INPUT for what is no cursor */
export function decodeCursor(text: string): Cursor {
  const [, epoch, seq] = CURSOR.exec(text) ?? [];
  if (epoch === undefined || seq === undefined) {
    throw new AppError('BAD_INPUT', `${quote(text)} is not a cursor of a stream or of the log.`, {
      path: ['after'],
    });
  }
  return { epoch, seq: Number(seq) };
}

/**
 * Whether every change after the cursor can still be read: it is of this history, not ahead of it,
 * and not older than what is kept (`lowestSeq`, null when nothing is).
 */
export function canResume(cursor: Cursor, head: Head, lowestSeq: string | null): boolean {
  const headSeq = Number(head.seq);
  if (cursor.epoch !== head.epoch || cursor.seq > headSeq) return false;
  return cursor.seq === headSeq || (lowestSeq !== null && Number(lowestSeq) <= cursor.seq + 1);
}
