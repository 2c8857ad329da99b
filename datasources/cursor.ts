import { AppError } from '../errors.ts';
import { quote } from './id.ts';

/** A place in one history of an account's log: everything up to this seq was seen. */
export interface Cursor {
  readonly epoch: string;
  readonly seq: number;
}

const CURSOR = /^([0-9a-z]{1,16})\.(\d{1,15})$/;

/** `<epoch>.<seq>` */
export function encodeCursor(epoch: string, seq: number | string): string {
  return `${epoch}.${seq}`;
}

/** @throws AppError BAD_INPUT, path `after`, for what is no cursor */
export function decodeCursor(text: string): Cursor {
  const [, epoch, seq] = CURSOR.exec(text) ?? [];
  if (epoch === undefined || seq === undefined) {
    throw new AppError('BAD_INPUT', `${quote(text)} is not a cursor of a stream or of the log.`, {
      path: ['after'],
    });
  }
  return { epoch, seq: Number(seq) };
}
