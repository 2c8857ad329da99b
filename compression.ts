import { constants, createGzip, type Gzip } from 'node:zlib';

const CHUNK_BYTES = 64 * 1024;

/** Whether the `Accept-Encoding` of a request takes gzip. */
export function acceptsGzip(header: string | null | undefined): boolean {
  return (header ?? '').split(',').some((one) => {
    const [name = '', ...parameters] = one.split(';').map((part) => part.trim().toLowerCase());
    const isRefused = parameters.some((parameter) => /^q=0(?:\.0*)?$/.test(parameter));
    return (name === 'gzip' || name === 'x-gzip') && !isRefused;
  });
}

/** Compresses in a thread of its own: large answers that are made once, so for speed. */
export function createFastGzip(): Gzip {
  return createGzip({ level: constants.Z_BEST_SPEED, chunkSize: CHUNK_BYTES });
}
