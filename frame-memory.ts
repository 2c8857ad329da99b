import type { FrameHold } from './context.ts';
import { AppError } from './errors.ts';

/** One frame as it is sent. */
const FRAME_BYTES_MAX = 64 * 1024 * 1024;
/** Where an answer is one text, made at once: a frame in it is parsed and written once more. */
const FRAME_IN_TEXT_BYTES_MAX = 4 * 1024 * 1024;
/** The frames of all answers that their clients have not taken yet. */
const HELD_BYTES_MAX = 4 * FRAME_BYTES_MAX;
const RETRY_AFTER_MS = 1000;

/** The frames of one answer. */
export interface AnswerFrames extends FrameHold {
  /** Whether it has any. */
  readonly isUsed: boolean;
  /** The client has them, or has gone. */
  release(): void;
}

/** Bounds what frames hold of this process's memory from when they are read until they are sent. */
export interface FrameMemory {
  open(): AnswerFrames;
}

export function createFrameMemory(bytesMax: number = HELD_BYTES_MAX): FrameMemory {
  let held = 0;
  return {
    open() {
      let own = 0;
      return {
        bytesMax: FRAME_BYTES_MAX,
        get isUsed() {
          return own > 0;
        },
        hold(bytes) {
          if (held + bytes > bytesMax) {
            throw new AppError('OVERLOADED', 'Too many frames are being sent already.', {
              retryAfterMs: RETRY_AFTER_MS,
            });
          }
          held += bytes;
          own += bytes;
        },
        release() {
          held -= own;
          own = 0;
        },
      };
    },
  };
}

/** For answers that are one text, as those over WebSocket and SSE are. */
export function framesInText(): AnswerFrames {
  return { bytesMax: FRAME_IN_TEXT_BYTES_MAX, isUsed: false, hold: () => {}, release: () => {} };
}
