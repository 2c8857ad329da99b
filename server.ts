import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { randomUUID } from 'node:crypto';
import type { GraphQLError } from 'graphql';
import type { Logger } from 'pino';
import type { Authentication } from './authentication.ts';
import { toPublicError } from './edge.ts';
import { AppError, FatalError } from './errors.ts';
import { createEventStreams, type EventStreams } from './event-streams.ts';
import {
  BODY_BYTES_MAX,
  type createExecution,
  type Operation,
  type OperationParams,
} from './execution.ts';
import { type FrameMemory, framesInText } from './frame-memory.ts';
import { isGraphiqlRequest, sendGraphiql } from './graphiql.ts';
import type { RateLimiter } from './rate-limit.ts';
import { createSocketServer } from './socket-server.ts';
import type { Traffic } from './datasources/traffic.ts';

export interface ServerOptions {
  readonly host: string;
  readonly port: number;
  readonly execution: ReturnType<typeof createExecution>;
  readonly authentication: Authentication;
  readonly rateLimiter: RateLimiter;
  readonly traffic: Traffic;
  readonly frameMemory: FrameMemory;
  readonly log: Logger;
  readonly isExplorerOn: boolean;
  /** Whether the database answers; asked by /readyz. */
  isReady(): Promise<boolean>;
}

export interface RunningServer {
  readonly url: string;
  readonly port: number;
  /**
   * Takes no new work, lets what is under way end, closes the sockets with 1012 (clients connect
   * again, elsewhere); resolves when nothing is left.
   */
  drain(): Promise<void>;
  /** Cuts what is left. */
  destroy(): void;
}

const IDLE_CHECK_MS = 50;
const DEADLINE_MAX_MS = 600_000;
const REQUEST_ID = /^[\w.:-]{1,100}$/;

/** @throws FatalError in one sentence when the address cannot be used */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { log } = options;
  const state = { isDraining: false, underWay: 0, onIdle: () => {} };
  const streams = createEventStreams(options);
  const responses = new Set<ServerResponse>();
  const server = createServer((request, response) => {
    state.underWay += 1;
    responses.add(response);
    response.once('close', () => {
      responses.delete(response);
      state.underWay -= 1;
      if (state.underWay === 0) state.onIdle();
    });
    handle(request, response, options, { isDraining: state.isDraining, streams }).catch(
      (error: unknown) => {
        log.error({ err: error }, 'a request failed outside of GraphQL');
        if (!response.headersSent) response.writeHead(500);
        response.end();
      },
    );
  });
  // A client that sends its headers or its body slower than this holds nothing.
  server.headersTimeout = 10_000;
  server.requestTimeout = 60_000;
  const sockets = createSocketServer(options);
  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    if (state.isDraining) socket.destroy();
    else sockets.upgrade(request, socket, head);
  });
  const port = await listen(server, options);
  const host = options.host.includes(':') ? `[${options.host}]` : options.host;
  return {
    url: `http://${host}:${port}`,
    port,
    async drain() {
      state.isDraining = true;
      const closed = new Promise<void>((resolve) => {
        server.close(() => resolve());
      });
      const idle = new Promise<void>((resolve) => {
        state.onIdle = resolve;
        if (state.underWay === 0) resolve();
      });
      await sockets.close();
      for (const response of responses) if (isStream(response)) response.end();
      await idle;
      // Keep-alive connections without a request would hold the server open; some of them are still
      // sending a body that was refused.
      const sweep = setInterval(() => server.closeIdleConnections(), IDLE_CHECK_MS);
      server.closeIdleConnections();
      await closed;
      clearInterval(sweep);
    },
    destroy() {
      sockets.terminate();
      server.closeAllConnections();
    },
  };
}

/** What a request needs of the server that it came to. */
interface Reception {
  readonly isDraining: boolean;
  readonly streams: EventStreams;
}

/** A subscription over SSE: it ends by itself only when its client goes. */
function isStream(response: ServerResponse): boolean {
  return String(response.getHeader('content-type')).startsWith('text/event-stream');
}

function listen(server: Server, { host, port }: ServerOptions): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(listenError(error, host, port)));
    server.listen(port, host, () => {
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : port);
    });
  });
}

function listenError(error: NodeJS.ErrnoException, host: string, port: number): FatalError {
  const where = `${host}:${port}`;
  switch (error.code) {
    case 'EADDRINUSE':
      return new FatalError(
        `Port ${port} is taken on ${host}: stop what listens there, or set PORT to another one.`,
      );
    case 'EACCES':
      return new FatalError(`This user may not listen on ${where}: set PORT above 1023.`);
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
      return new FatalError(`${host} is no address of this machine: set HOST to one that is.`);
    default:
      return new FatalError(`Cannot listen on ${where}: ${error.code ?? error.message}.`);
  }
}

async function handle(
  request: IncomingMessage,
  response: ServerResponse,
  options: ServerOptions,
  reception: Reception,
): Promise<void> {
  const path = (request.url ?? '/').split('?')[0];
  switch (path) {
    case '/livez':
      return sendText(response, 200, 'ok');
    case '/readyz': {
      const isReady = !reception.isDraining && (await options.isReady());
      return sendText(response, isReady ? 200 : 503, isReady ? 'ready' : 'not ready');
    }
    case '/':
      response.writeHead(302, { location: '/graphql' });
      response.end();
      return;
    case '/graphql':
      if (options.isExplorerOn && isGraphiqlRequest(request)) {
        return sendGraphiql(request, response);
      }
      return handleGraphql(request, response, options, reception);
    default:
      return sendText(response, 404, 'not found');
  }
}

async function handleGraphql(
  request: IncomingMessage,
  response: ServerResponse,
  options: ServerOptions,
  { isDraining, streams }: Reception,
): Promise<void> {
  const requestId = requestIdOf(request);
  response.setHeader('x-request-id', requestId);
  try {
    if (isDraining) {
      throw new AppError('UNAVAILABLE', 'The server is shutting down.', { retryAfterMs: 1000 });
    }
    const actor = options.authentication.authenticate(request.headers.authorization);
    const release = options.rateLimiter.admit(actor);
    response.once('close', release);
    const frames = isOneText(request) ? framesInText() : options.frameMemory.open();
    response.once('close', () => frames.release());
    const ending = goneController(response);
    const operation: Operation = {
      requestId,
      actor,
      deadlineMs: deadlineOf(request),
      idempotencyKey: headerOf(request, 'idempotency-key'),
      signal: ending.signal,
      onStream() {
        streams.hold({ actor, response, ending });
        release();
      },
      frames,
    };
    const params = request.method === 'POST' ? await readParams(request) : undefined;
    await options.execution.handle(request, response, { operation, given: params });
  } catch (error) {
    sendError(response, error, requestId, options.log);
  }
}

/** What yoga streams as events or parts is made of whole texts. */
function isOneText({ headers: { accept } }: IncomingMessage): boolean {
  return /event-stream|multipart/.test(accept ?? '');
}

/** Aborts when the client closes the connection before it has its answer. */
function goneController(response: ServerResponse): AbortController {
  const gone = new AbortController();
  response.once('close', () => {
    if (!response.writableFinished) gone.abort();
  });
  return gone;
}

/**
 * The parameters in the body of a request.
 *
 * @throws AppError BAD_INPUT unless it is a JSON object; PAYLOAD_TOO_LARGE over 4 MiB
 */
async function readParams(request: IncomingMessage): Promise<OperationParams> {
  // Forms and text are what a browser sends across origins without asking: only JSON is read.
  const type = request.headers['content-type']?.split(';')[0]?.trim().toLowerCase();
  if (type !== 'application/json') {
    throw new AppError('BAD_INPUT', 'Send the request as application/json.', {
      path: ['headers', 'content-type'],
    });
  }
  const body = await readBody(request);
  const params = parseJson(body);
  if (typeof params !== 'object' || params === null || Array.isArray(params)) {
    throw new AppError('BAD_INPUT', 'The body must be one JSON object with a query.');
  }
  // GraphQL checks the members that it reads.
  return params as OperationParams;
}

function isBounded({ headers }: IncomingMessage): boolean {
  return Number(headers['content-length']) <= BODY_BYTES_MAX;
}

async function readBody(request: IncomingMessage): Promise<string> {
  // What says that it is too long is not read at all.
  if (Number(request.headers['content-length'] ?? 0) > BODY_BYTES_MAX) throw tooLarge();
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request) {
    bytes += chunk.length;
    if (bytes > BODY_BYTES_MAX) throw tooLarge();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, bytes).toString('utf8');
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

/** Null: the client leaves it to the server. @throws AppError BAD_INPUT outside 1–600000 */
function deadlineOf(request: IncomingMessage): number | null {
  const text = headerOf(request, 'x-deadline-ms');
  if (text === null) return null;
  const value = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  if (value < 1 || value > DEADLINE_MAX_MS) {
    throw new AppError('BAD_INPUT', `x-deadline-ms must be 1 to ${DEADLINE_MAX_MS}.`, {
      path: ['headers', 'x-deadline-ms'],
    });
  }
  return value;
}

function requestIdOf(request: IncomingMessage): string {
  const given = headerOf(request, 'x-request-id');
  return given !== null && REQUEST_ID.test(given) ? given : randomUUID();
}

function headerOf(request: IncomingMessage, name: string): string | null {
  const value = request.headers[name];
  return typeof value === 'string' ? value : null;
}

const STATUS: Readonly<Record<string, number>> = {
  BAD_INPUT: 400,
  PAYLOAD_TOO_LARGE: 413,
  RATE_LIMITED: 429,
  UNAUTHENTICATED: 401,
  UNAVAILABLE: 503,
};

function sendError(response: ServerResponse, error: unknown, requestId: string, log: Logger): void {
  const shown = toPublicError(error, requestId, log);
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const body = JSON.stringify({ errors: [shown satisfies GraphQLError] });
  const { code, retryAfterMs } = shown.extensions;
  if (typeof retryAfterMs === 'number') {
    response.setHeader('retry-after', Math.ceil(retryAfterMs / 1000));
  }
  response.writeHead(STATUS[String(code)] ?? 500, {
    'content-type': 'application/json; charset=utf-8',
    // What is left of the body is not read; but a client that sends much of it would see its
    // connection break instead of being told when to come again.
    ...(code === 'RATE_LIMITED' && isBounded(response.req) ? {} : { connection: 'close' }),
  });
  response.end(body);
}

function sendText(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' });
  response.end(`${text}\n`);
}
