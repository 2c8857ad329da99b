import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { randomUUID } from 'node:crypto';
import type { GraphQLError } from 'graphql';
import type { Logger } from 'pino';
import { type Answers, REQUEST_ID_HEADER } from './answers.ts';
import type { Authentication } from './authentication.ts';
import { BodyRequest, isBounded, parseBody, readBody } from './body.ts';
import { toPublicError } from './edge.ts';
import { AppError, FatalError } from './errors.ts';
import { createEventOutlet, createEventStreams, type EventStreams } from './event-streams.ts';
import type { createExecution, Operation } from './execution.ts';
import type { FrameExports } from './frame-export.ts';
import { type AnswerFrames, type FrameMemory, framesInText } from './frame-memory.ts';
import { isGraphiqlRequest, sendGraphiql } from './graphiql.ts';
import { type MinCommit, readMinCommits } from './min-commit.ts';
import type { RateLimiter, Release } from './rate-limit.ts';
import { createSocketServer } from './socket-server.ts';
import type { Traffic } from './datasources/traffic.ts';

export interface ServerOptions {
  readonly host: string;
  readonly port: number;
  readonly execution: ReturnType<typeof createExecution>;
  readonly answers: Answers;
  readonly authentication: Authentication;
  readonly rateLimiter: RateLimiter;
  readonly traffic: Traffic;
  readonly frameMemory: FrameMemory;
  readonly frameExports: FrameExports;
  readonly log: Logger;
  readonly isExplorerOn: boolean;
  /** The most that `x-deadline-ms` may ask for. */
  readonly deadlineMaxMs: number;
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
const REQUEST_ID = /^[\w.:-]{1,100}$/;

/** @throws FatalError in one sentence when the address cannot be used */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { log } = options;
  const state = { isDraining: false, underWay: 0, onIdle: () => {} };
  const streams = createEventStreams(options);
  const streaming = new Set<ServerResponse>();
  const server = createServer({ IncomingMessage: BodyRequest }, (request, response) => {
    const { isDraining } = state;
    const visit: Visit = {
      isDraining,
      streams,
      streaming,
      release: null,
      ending: null,
      frames: null,
    };
    state.underWay += 1;
    response.on('close', () => {
      endVisit(visit, response);
      state.underWay -= 1;
      if (state.underWay === 0) state.onIdle();
    });
    const isPlain = request.url === '/graphql' && request.method === 'POST';
    const handled = (isPlain ? handleGraphql : handle)(request, response, options, visit);
    handled.catch((error: unknown) => {
      log.error({ err: error }, 'a request failed outside of GraphQL');
      if (!response.headersSent) response.writeHead(500);
      response.end();
    });
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
      for (const response of streaming) if (isStream(response)) response.end();
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

/** A request at the server that it came to, and what it holds there until its response is closed. */
interface Visit {
  readonly isDraining: boolean;
  readonly streams: EventStreams;
  /** Responses of subscriptions, which end when the server drains. */
  readonly streaming: Set<ServerResponse>;
  release: Release | null;
  /** Aborted when the client closes the connection before it has its answer; null: nobody listens. */
  ending: AbortController | null;
  frames: AnswerFrames | null;
}

function endVisit(visit: Visit, response: ServerResponse): void {
  visit.streaming.delete(response);
  visit.release?.();
  visit.frames?.release();
  if (!response.writableFinished) visit.ending?.abort();
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
  request: BodyRequest,
  response: ServerResponse,
  options: ServerOptions,
  visit: Visit,
): Promise<void> {
  const path = (request.url ?? '/').split('?')[0];
  switch (path) {
    case '/livez':
      return sendText(response, 200, 'ok');
    case '/readyz': {
      const isReady = !visit.isDraining && (await options.isReady());
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
      return handleGraphql(request, response, options, visit);
    default:
      if (path?.startsWith('/export/')) {
        return handleExport(request, response, options, visit);
      }
      return sendText(response, 404, 'not found');
  }
}

async function handleExport(
  request: IncomingMessage,
  response: ServerResponse,
  { authentication, rateLimiter, frameExports, log, deadlineMaxMs }: ServerOptions,
  visit: Visit,
): Promise<void> {
  if (request.method !== 'GET') {
    response.setHeader('allow', 'GET');
    return sendText(response, 405, 'method not allowed');
  }
  const requestId = requestIdOf(request);
  response.setHeader(REQUEST_ID_HEADER, requestId);
  try {
    if (visit.isDraining) throw shuttingDown();
    const actor = authentication.authenticate(request.headers.authorization);
    visit.release = rateLimiter.admit(actor);
    const deadlineMs = deadlineOf(request, deadlineMaxMs);
    await frameExports.send(request, response, { requestId, actor, deadlineMs });
  } catch (error) {
    sendError(response, error, requestId, log);
  }
}

async function handleGraphql(
  request: BodyRequest,
  response: ServerResponse,
  options: ServerOptions,
  visit: Visit,
): Promise<void> {
  const requestId = requestIdOf(request);
  try {
    if (visit.isDraining) throw shuttingDown();
    const { authorization } = request.headers;
    const actor = options.authentication.authenticate(authorization, request.socket);
    const release = options.rateLimiter.admit(actor);
    visit.release = release;
    const arrival = {
      requestId,
      actor,
      deadlineMs: deadlineOf(request, options.deadlineMaxMs),
      idempotencyKey: headerOf(request, 'idempotency-key'),
      minCommits: minCommitsOf(request),
      lastEventId: headerOf(request, 'last-event-id') || null,
    };
    const body = request.method === 'POST' ? await readBody(request) : null;
    const { answers, execution } = options;
    if (body !== null) {
      const repeated = answers.repeat({ request, response, body, arrival });
      // Mostly told at once; waiting for it would take another turn.
      if (repeated === true || (repeated !== false && (await repeated))) return;
    }
    const { ending, frames } = open(visit, request, response, options);
    const onStream = () => {
      visit.streams.hold({ actor, response, ending });
      if (!response.closed) visit.streaming.add(response);
      release();
    };
    const openOutlet = () => createEventOutlet(response, ending);
    const operation: Operation = {
      ...arrival,
      signal: ending.signal,
      onStream,
      openOutlet,
      frames,
    };
    if (body === null) {
      response.setHeader(REQUEST_ID_HEADER, requestId);
      return await execution.handle(request, response, { operation });
    }
    const given = parseBody(body);
    if (await answers.make({ request, response, body, arrival }, operation, given)) return;
    response.setHeader(REQUEST_ID_HEADER, requestId);
    await execution.handle(request, response, { operation, given });
  } catch (error) {
    sendError(response, error, requestId, options.log);
  }
}

function shuttingDown(): AppError {
  return new AppError('UNAVAILABLE', 'The server is shutting down.', { retryAfterMs: 1000 });
}

/** What yoga streams as events or parts is made of whole texts. */
function isOneText({ headers: { accept } }: IncomingMessage): boolean {
  return /event-stream|multipart/.test(accept ?? '');
}

function open(
  visit: Visit,
  request: IncomingMessage,
  response: ServerResponse,
  { frameMemory }: ServerOptions,
) {
  const ending = new AbortController();
  // Nobody would tell of it, and nobody would give frames back, where the client has gone already.
  if (response.closed) ending.abort();
  const frames = isOneText(request) || response.closed ? framesInText() : frameMemory.open();
  Object.assign(visit, { ending, frames });
  return { ending, frames };
}

/** Null: the client leaves it to the server. @throws AppError BAD_INPUT below 1 and above the most */
function deadlineOf(request: IncomingMessage, deadlineMaxMs: number): number | null {
  const text = headerOf(request, 'x-deadline-ms');
  if (text === null) return null;
  const value = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  if (value < 1 || value > deadlineMaxMs) {
    throw new AppError('BAD_INPUT', `x-deadline-ms must be 1 to ${deadlineMaxMs}.`, {
      path: ['headers', 'x-deadline-ms'],
    });
  }
  return value;
}

/** @throws AppError BAD_INPUT for what names no commits */
function minCommitsOf(request: IncomingMessage): readonly MinCommit[] {
  const text = headerOf(request, 'x-min-commit');
  return text === null ? [] : readMinCommits(text, ['headers', 'x-min-commit']);
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
  DEADLINE_EXCEEDED: 504,
  FORBIDDEN: 403,
  NOT_FOUND: 404,
  OVERLOADED: 503,
  PAYLOAD_TOO_LARGE: 413,
  QUERY_TOO_EXPENSIVE: 504,
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
  response.setHeader(REQUEST_ID_HEADER, requestId);
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
