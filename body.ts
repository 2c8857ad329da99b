import { IncomingMessage } from 'node:http';
import { AppError } from './errors.ts';
import type { OperationParams } from './execution.ts';

const BODY_BYTES_MAX = 4 * 1024 * 1024;

/** A body that is still arriving. */
interface Reading {
  readonly chunks: Buffer[];
  bytes: number;
  readonly resolve: (body: Buffer) => void;
  readonly reject: (error: AppError) => void;
}

/**
 * A request whose body is put together while it is parsed. As a stream it would pass through a queue
 * and three further turns, for what mostly is one piece.
 */
export class BodyRequest extends IncomingMessage {
  #reading: Reading | null = null;

  /** To be called before any of the body has arrived: when the request is told of. */
  collect(): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.#reading = { chunks: [], bytes: 0, resolve, reject };
    });
  }

  /** As the parser calls it; false stops it until what is left is asked for. */
  override push(chunk: Buffer | null, encoding?: BufferEncoding): boolean {
    const reading = this.#reading;
    if (reading === null) return super.push(chunk, encoding);
    if (chunk === null) {
      this.#reading = null;
      reading.resolve(joined(reading.chunks));
      return super.push(null);
    }
    reading.bytes += chunk.length;
    if (reading.bytes <= BODY_BYTES_MAX) {
      reading.chunks.push(chunk);
      return true;
    }
    this.#reading = null;
    reading.reject(tooLarge());
    return false;
  }
}

/**
 * The body of a request, as it was sent. Never settles when the client goes before it has sent it.
 *
 * @throws AppError BAD_INPUT unless it is said to be JSON; PAYLOAD_TOO_LARGE over 4 MiB
 */
export function readBody(request: BodyRequest): Promise<Buffer> {
  const { headers } = request;
  if (!isJson(headers['content-type'])) {
    throw new AppError('BAD_INPUT', 'Send the request as application/json.', {
      path: ['headers', 'content-type'],
    });
  }
  // What says that it is too long is not read at all.
  if (Number(headers['content-length'] ?? 0) > BODY_BYTES_MAX) throw tooLarge();
  return request.collect();
}

const JSON_TYPE = 'application/json';

/** Forms and text are what a browser sends across origins without asking: only JSON is read. */
function isJson(type: string | undefined): boolean {
  return type === JSON_TYPE || type?.split(';')[0]?.trim().toLowerCase() === JSON_TYPE;
}

/** Most bodies come in one piece. */
function joined(chunks: readonly Buffer[]): Buffer {
  const [only] = chunks;
  return chunks.length === 1 && only !== undefined ? only : Buffer.concat(chunks);
}

/** @throws AppError BAD_INPUT unless the body is a JSON object */
export function parseBody(body: Buffer): OperationParams {
  const params = parseJson(body.toString('utf8'));
  if (typeof params !== 'object' || params === null || Array.isArray(params)) {
    throw new AppError('BAD_INPUT', 'The body must be one JSON object with a query.');
  }
  // GraphQL checks the members that it reads.
  return params as OperationParams;
}

/** Whether this request says that its body is one that would be read. */
export function isBounded({ headers }: IncomingMessage): boolean {
  return Number(headers['content-length']) <= BODY_BYTES_MAX;
}

function tooLarge(): AppError {
  return new AppError('PAYLOAD_TOO_LARGE', `A body may have at most ${BODY_BYTES_MAX} bytes.`, {
    details: { bytesMax: BODY_BYTES_MAX },
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new AppError('BAD_INPUT', 'The body is no JSON.');
  }
}
