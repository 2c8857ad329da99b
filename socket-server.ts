import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { type ExecutionArgs, GraphQLError, getOperationAST } from 'graphql';
import type { ServerOptions as ProtocolOptions } from 'graphql-ws';
import { type Extra, useServer } from 'graphql-ws/use/ws';
import type { Logger } from 'pino';
import { type WebSocket, WebSocketServer } from 'ws';
import type { Actor } from './access.ts';
import { toPublicError } from './edge.ts';
import { AppError } from './errors.ts';
import type { Operation, OperationParams } from './execution.ts';
import type { Release } from './rate-limit.ts';
import { framesInText } from './frame-memory.ts';
import type { Outlet } from './outlet.ts';
import type { ServerOptions } from './server.ts';
import { createSocketOutlet } from './socket-outlet.ts';

const FRAME_BYTES_MAX = 64 * 1024;
const OPERATIONS_PER_SOCKET_MAX = 100;
const INIT_TIMEOUT_MS = 5000;
const PING_MS = 12_000;
const CLOSE_WAIT_MS = 2000;

/** Codes that the stock client takes as final (4401) or as a reason to connect again. */
const CLOSE = { restart: 1012, tryLater: 1013, unauthorized: 4401, forbidden: 4403 } as const;

type Protocol = ProtocolOptions<Record<string, unknown>, Extra>;

/** What `prepare` hands to `execute` and `subscribe`: an operation with its own engine. */
interface PreparedArgs extends ExecutionArgs {
  readonly execute: Protocol['execute'] & {};
  readonly subscribe: Protocol['subscribe'] & {};
  readonly release: Release;
}

export interface SocketServer {
  upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void;
  /** Closes every socket with 1012 and waits until they are gone, or cuts those that stay. */
  close(): Promise<void>;
  terminate(): void;
}

/** GraphQL over WebSocket (graphql-transport-ws) on the server's port. */
export function createSocketServer(options: ServerOptions): SocketServer {
  const { authentication } = options;
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: FRAME_BYTES_MAX,
    handleProtocols: (protocols) =>
      protocols.has('graphql-transport-ws') ? 'graphql-transport-ws' : false,
  });
  const actors = new Map<WebSocket, Actor>();
  const disposable = useServer<Record<string, unknown>>(
    protocolOf(options, actors),
    sockets,
    PING_MS,
  );

  authentication.onEnded(() => {
    for (const [socket, actor] of actors) {
      if (!authentication.isCurrent(actor)) forbid(socket);
    }
  });

  function terminate(): void {
    for (const socket of sockets.clients) socket.terminate();
  }

  return {
    upgrade(request, socket, head) {
      const status = refusal(request);
      if (status !== null) {
        refuse(socket, status);
        return;
      }
      let release: Release;
      try {
        release = options.rateLimiter.openSocket();
      } catch {
        refuse(socket, '503 Service Unavailable', 'Retry-After: 1\r\n');
        return;
      }
      socket.once('close', release);
      sockets.handleUpgrade(request, socket, head, (accepted) => {
        options.traffic.socketOpened();
        accepted.once('close', () => options.traffic.socketClosed());
        sockets.emit('connection', accepted, request);
        // The library prints what a client does wrong, such as a frame that is too large, with a
        // stack to the console; ws has closed the socket with the right code by then.
        accepted.removeAllListeners('error');
        accepted.on('error', (error) => options.log.debug({ err: error }, 'a socket was closed'));
      });
    },
    async close() {
      const gone = [...sockets.clients].map(
        (socket) => new Promise<void>((resolve) => socket.once('close', () => resolve())),
      );
      for (const socket of sockets.clients) socket.close(CLOSE.restart, 'The server restarts.');
      const cut = setTimeout(terminate, CLOSE_WAIT_MS);
      await Promise.all(gone);
      clearTimeout(cut);
      await disposable.dispose();
    },
    terminate,
  };
}

/** Its key has ended: the client may come again with another one. */
function forbid(socket: WebSocket): void {
  end(socket, CLOSE.forbidden, 'The key has ended.');
}

function end(socket: WebSocket, code: number, reason: string): void {
  socket.close(code, reason);
  // Whoever does not answer would keep its streams.
  setTimeout(() => socket.terminate(), CLOSE_WAIT_MS).unref();
}

function protocolOf(options: ServerOptions, actors: Map<WebSocket, Actor>): Protocol {
  return {
    connectionInitWaitTimeout: INIT_TIMEOUT_MS,
    onConnect: ({ connectionParams, extra }) => {
      try {
        const actor = options.authentication.authenticate(authorizationOf(connectionParams));
        extra.socket.once('close', options.rateLimiter.ownSocket(actor));
        actors.set(extra.socket, actor);
        return true;
      } catch (error) {
        const isLimited = error instanceof AppError && error.code === 'RATE_LIMITED';
        const reason = error instanceof AppError ? error.message : 'Unauthorized';
        extra.socket.close(isLimited ? CLOSE.tryLater : CLOSE.unauthorized, reason);
        return false;
      }
    },
    onClose: ({ extra }) => {
      actors.delete(extra.socket);
    },
    onSubscribe: async ({ extra, subscriptions }, id, payload) => {
      const requestId = randomUUID();
      let release: Release = () => {};
      try {
        const actor = actors.get(extra.socket);
        if (actor === undefined) throw new AppError('UNAUTHENTICATED', 'Say who you are first.');
        if (!options.authentication.isCurrent(actor)) {
          forbid(extra.socket);
          throw new AppError('UNAUTHENTICATED', 'The key was revoked or has expired.');
        }
        if (Object.keys(subscriptions).length > OPERATIONS_PER_SOCKET_MAX) {
          const message = `A socket carries at most ${OPERATIONS_PER_SOCKET_MAX} operations.`;
          throw new AppError('RATE_LIMITED', message, { retryAfterMs: 1000 });
        }
        release = options.rateLimiter.admit(actor);
        const openOutlet = () => outletOf(options, extra, id, requestId);
        const prepared = await prepare(options, { requestId, actor, openOutlet }, payload);
        // What follows at once releases it.
        if ('schema' in prepared) return { ...prepared, release } satisfies PreparedArgs;
        release();
        return prepared;
      } catch (error) {
        release();
        // Thrown further, one bad operation would close the socket with all the others.
        return [toSocketError(error, requestId, options.log)];
      }
    },
    execute: (args) => run(args as PreparedArgs, 'execute'),
    subscribe: (args) => run(args as PreparedArgs, 'subscribe'),
  };
}

function outletOf(
  { log }: ServerOptions,
  { socket, request }: Extra,
  id: string,
  requestId: string,
): Outlet {
  return createSocketOutlet(socket, request.socket, id, (error) => {
    if (socket.readyState !== socket.OPEN) return;
    const payload = [toSocketError(error, requestId, log)];
    socket.send(JSON.stringify({ id, type: 'error', payload }));
    end(socket, CLOSE.tryLater, 'A reader was too slow.');
  });
}

/** To its answer, or until its stream has begun. */
async function run(args: PreparedArgs, how: 'execute' | 'subscribe') {
  try {
    return await args[how](args);
  } finally {
    args.release();
  }
}

/** Parses and validates an operation with the engine that HTTP uses. */
async function prepare(
  { execution, log }: ServerOptions,
  arrival: Pick<Operation, 'requestId' | 'actor' | 'openOutlet'>,
  params: OperationParams,
): Promise<Omit<PreparedArgs, 'release'> | readonly GraphQLError[]> {
  const { requestId } = arrival;
  const operation: Operation = {
    ...arrival,
    deadlineMs: null,
    idempotencyKey: null,
    minCommits: [],
    lastEventId: null,
    frames: framesInText(),
  };
  const enveloped = execution.getEnveloped({ operation, params });
  const document = enveloped.parse(params.query ?? '');
  const errors = enveloped.validate(enveloped.schema, document);
  if (errors.length > 0) {
    return errors.map((error: unknown) => toSocketError(error, requestId, log));
  }
  if (!getOperationAST(document, params.operationName)) {
    throw new GraphQLError('Name one of the operations of the document.');
  }
  return {
    schema: enveloped.schema,
    document,
    operationName: params.operationName ?? null,
    // Checked by GraphQL against the operation's own declarations.
    variableValues: (params.variables ?? {}) as Record<string, unknown>,
    contextValue: await enveloped.contextFactory(),
    execute: enveloped.execute,
    subscribe: enveloped.subscribe,
  };
}

/** As over HTTP, where yoga takes the status out of the extensions. */
function toSocketError(error: unknown, requestId: string, log: Logger): GraphQLError {
  const shown = toPublicError(error, requestId, log);
  const { http: _http, ...extensions } = shown.extensions;
  const { message, nodes, source, positions, path } = shown;
  return new GraphQLError(message, { nodes, source, positions, path, extensions });
}

function refuse(socket: Socket, status: string, headers = ''): void {
  socket.end(`HTTP/1.1 ${status}\r\n${headers}Connection: close\r\nContent-Length: 0\r\n\r\n`);
}

/** The status with which an upgrade is refused, or null. */
function refusal(request: IncomingMessage): string | null {
  if (request.url?.split('?')[0] !== '/graphql') return '404 Not Found';
  return isOwnOrigin(request) ? null : '403 Forbidden';
}

/** A page of another origin must not use the keys that a browser holds for this one. */
function isOwnOrigin({ headers: { origin, host } }: IncomingMessage): boolean {
  if (origin === undefined) return true;
  try {
    return new URL(origin).host === host;
  } catch {
    // `null` and other words are no origin of ours.
    return false;
  }
}

/** GraphiQL passes its header editor on; programs send the one word. */
function authorizationOf(params: Readonly<Record<string, unknown>> | undefined): string | null {
  const headers = params?.headers;
  const nested = typeof headers === 'object' && headers !== null ? headers : {};
  for (const [name, value] of [...Object.entries(params ?? {}), ...Object.entries(nested)]) {
    if (name.toLowerCase() === 'authorization' && typeof value === 'string') return value;
  }
  return null;
}
