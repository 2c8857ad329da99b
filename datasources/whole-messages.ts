import type { OnReadOpts } from 'node:net';

/** A message of the server: a byte for its kind, four for its length without that byte. */
const HEADER_BYTES = 5;
/** The driver collects longer messages in pieces and copies them together. */
const LARGE_BYTES = 128 * 1024;
const READ_BYTES = 64 * 1024;

/**
 * Reads a socket of PostgreSQL into one buffer that is used again, and gives what came, in buffers of
 * its own: a large message when it is whole, everything else as it came. Otherwise each read has a
 * buffer of 64 KiB, however little came, and the driver copies those of a large message together:
 * more than twice the bytes of a frame for the garbage collector, which runs beside it for that.
 */
export function readWholeMessages(give: (bytes: Buffer) => void): OnReadOpts {
  const input = Buffer.allocUnsafeSlow(READ_BYTES);
  const header = Buffer.allocUnsafeSlow(HEADER_BYTES);
  /** Of the header of the message that is coming. */
  let headerFilled = 0;
  /** Of the body of a small message, still to come. */
  let bodyLeft = 0;
  let large: Buffer | null = null;
  let largeFilled = 0;

  /** The end of what belongs to the message that is coming, in what was read. */
  function takeHeader(at: number, size: number): number {
    const end = Math.min(at + HEADER_BYTES - headerFilled, size);
    input.copy(header, headerFilled, at, end);
    headerFilled += end - at;
    return end;
  }

  function takeLarge(whole: Buffer, at: number, size: number): number {
    const end = Math.min(at + whole.length - largeFilled, size);
    input.copy(whole, largeFilled, at, end);
    largeFilled += end - at;
    if (largeFilled === whole.length) {
      large = null;
      give(whole);
    }
    return end;
  }

  function read(size: number): void {
    /** What stands before it was given, or is in `large` or `header`. */
    let from = 0;
    let at = 0;
    const giveBefore = (end: number) => {
      if (end > from) give(Buffer.from(input.subarray(from, end)));
      from = at;
    };
    while (at < size) {
      if (large !== null) {
        at = takeLarge(large, at, size);
        from = at;
      } else if (bodyLeft > 0) {
        const end = Math.min(at + bodyLeft, size);
        bodyLeft -= end - at;
        at = end;
      } else {
        const start = at;
        const before = headerFilled;
        at = takeHeader(at, size);
        // The rest of it comes with the next read, before which it cannot be told what it begins.
        if (headerFilled < HEADER_BYTES) {
          giveBefore(start);
          return;
        }
        headerFilled = 0;
        const length = 1 + header.readUInt32BE(1);
        if (length >= LARGE_BYTES) {
          giveBefore(start);
          large = Buffer.allocUnsafeSlow(length);
          largeFilled = header.copy(large);
        } else {
          if (before > 0) give(Buffer.from(header.subarray(0, before)));
          bodyLeft = length - HEADER_BYTES;
        }
      }
    }
    giveBefore(size);
  }

  return {
    buffer: input,
    callback(size) {
      read(size);
      return true;
    },
  };
}
