import { describe, expect, it } from 'vitest';
import { createFrameMemory, framesInText } from '../../frame-memory.ts';

describe('the memory of frames', () => {
  it('is full at its bound for all answers together', () => {
    const memory = createFrameMemory(100);
    const [first, second] = [memory.open(), memory.open()];
    first.hold(60);
    second.hold(40);
    expect(() => second.hold(1)).toThrow(
      expect.objectContaining({ code: 'OVERLOADED', isRetryable: true, retryAfterMs: 1000 }),
    );
    expect([first.isUsed, memory.open().isUsed]).toEqual([true, false]);
  });

  it('is given back once, when the answer is over', () => {
    const memory = createFrameMemory(100);
    const first = memory.open();
    first.hold(100);
    first.release();
    first.release();
    const second = memory.open();
    second.hold(100);
    expect(() => memory.open().hold(1)).toThrow();
  });

  it('takes 64 MiB a frame, and 4 MiB where the answer is one text', () => {
    const bytesMax = [createFrameMemory().open().bytesMax, framesInText().bytesMax];
    expect(bytesMax).toEqual([64 * 1024 * 1024, 4 * 1024 * 1024]);
  });
});
