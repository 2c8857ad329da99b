import type { IncomingMessage } from 'node:http';
import { AppError } from './errors.ts';
import type { OperationParams } from './execution.ts';

const BODY_BYTES_MAX = 4 * 1024 * 1024;

/**
 * The body of a request, as it was sent.
 *
 * @throws AppError BAD_INPUT unless it is said to be JSON; PAYLOAD_TOO_LARGE over 4 MiB
 */
export function readBody(request: IncomingMessage): Promise<Buffer> {
  const { headers } = request;
  // Forms and text are what a browser sends across origins without asking: only JSON is read.
  const type = headers['content-type']?.split(';')[0]?.trim().toLowerCase();
  if (type !== 'application/json') {
    throw new AppError('BAD_INPUT', 'Send the request as application/json.', {
      path: ['headers', 'content-type'],
    });
  }
  // What says that it is too long is not read at all.
  if (Number(headers['content-length'] ?? 0) > BODY_BYTES_MAX) throw tooLarge();
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      chunks.push(chunk);
      if (bytes <= BODY_BYTES_MAX) return;
      request.pause();
      reject(tooLarge());
    });
    request.on('end', () => resolve(joined(chunks)));
    request.on('error', reject);
  });
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
