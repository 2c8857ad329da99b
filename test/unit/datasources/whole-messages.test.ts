import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readWholeMessages } from '../../../datasources/whole-messages.ts';

const LARGE_BYTES = 128 * 1024;

/** A message of so many bytes, whose bytes tell it from others. */
function messageOf(length: number, place: number): Buffer {
  const message = Buffer.alloc(length, place + 1);
  message.write('D');
  message.writeUInt32BE(length - 1, 1);
  return message;
}

/** What is given when the bytes come in reads of these sizes, over and over. */
function readIn(sizes: readonly number[], bytes: Buffer): Buffer[] {
  const given: Buffer[] = [];
  const { buffer, callback } = readWholeMessages((piece) => given.push(piece));
  if (!Buffer.isBuffer(buffer)) throw new Error('it reads into one buffer');
  for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
    const size = bytes.copy(buffer, 0, at, at + (sizes[turn % sizes.length] ?? 1));
    expect(callback(size, buffer)).toBe(true);
    // What was given is nobody else's.
    buffer.fill(0);
    at += size;
  }
  return given;
}

const lengths = fc.oneof(
  fc.integer({ min: 5, max: 40 }),
  fc.constantFrom(LARGE_BYTES - 1, LARGE_BYTES, LARGE_BYTES + 1, 3 * LARGE_BYTES),
);
const sizes = fc.oneof(fc.integer({ min: 1, max: 12 }), fc.constantFrom(1000, 65_536));

describe('the messages of a socket', () => {
  it('come as they were sent, each large one whole', () => {
    fc.assert(
      fc.property(
        fc.array(lengths, { minLength: 1, maxLength: 6 }),
        fc.array(sizes, { minLength: 1, maxLength: 4 }),
        (all, reads) => {
          const messages = all.map(messageOf);
          const large = messages.filter((message) => message.length >= LARGE_BYTES);
          // A byte at a time only where that does not take for ever.
          const pace = large.length === 0 ? reads : [...reads, 65_536];
          const given = readIn(pace, Buffer.concat(messages));
          expect(Buffer.concat(given).equals(Buffer.concat(messages))).toBe(true);
          for (const message of large) expect(given.some((one) => one.equals(message))).toBe(true);
        },
      ),
      { numRuns: 200 },
    );
  });

  it('are given at once when they are small', () => {
    const messages = [messageOf(5, 0), messageOf(20, 1), messageOf(6, 2)];
    expect(readIn([65_536], Buffer.concat(messages))).toHaveLength(1);
  });
});
