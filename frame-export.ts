import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Writable } from 'node:stream';
import type { GraphQLSchema } from 'graphql';
import type { Logger } from 'pino';
import { type Actor, restrict } from './access.ts';
import { acceptsGzip, createFastGzip } from './compression.ts';
import { NO_RECORDER } from './datasources/change-recorder.ts';
import type { Database } from './datasources/database.ts';
import { createDatasources } from './datasources/datasources.ts';
import type { Call } from './datasources/lane.ts';
import { AppError } from './errors.ts';
import { readExportInput } from './frame-export-input.ts';
import { type ExportInput, openExport, type OpenedExport } from './resolvers/frame-export.ts';

export interface FrameExports {
  /**
   * Streams the rows that a request asks for, in the memory of a few thousand of them however many
   * there are. Resolves when the client has them, has gone, or was cut off: an answer that ends
   * cleanly is complete.
   *
   * @throws AppError before anything was sent
   */
  send(request: IncomingMessage, response: ServerResponse, of: ExportArrival): Promise<void>;
}

export interface ExportArrival {
  readonly requestId: string;
  readonly actor: Actor;
  /** Null: the client leaves it to the server. */
  readonly deadlineMs: number | null;
}

export interface FrameExportOptions {
  readonly database: Database;
  readonly schema: GraphQLSchema;
  readonly log: Logger;
  /** Each holds a connection as long as it takes. */
  readonly atOnceMax: number;
  readonly deadlineMs: number;
  /** How long a client may take nothing of what it is sent. */
  readonly stallMs: number;
}

const RETRY_AFTER_MS = 5000;
const MEDIA_TYPES = { ndjson: 'application/x-ndjson', csv: 'text/csv' } as const;

export function createFrameExports(options: FrameExportOptions): FrameExports {
  const { schema, atOnceMax, log } = options;
  let running = 0;
  return {
    async send(request, response, arrival) {
      const input = readExportInput(request, schema);
      if (running >= atOnceMax) {
        throw new AppError('OVERLOADED', `At most ${atOnceMax} exports run at once.`, {
          retryAfterMs: RETRY_AFTER_MS,
        });
      }
      running += 1;
      try {
        await stream(request, response, { ...arrival, input }, options);
      } catch (error) {
        cut(response, error, (message) =>
          log.warn({ err: error, requestId: arrival.requestId }, message),
        );
      } finally {
        running -= 1;
      }
    },
  };
}

/** The client closed the connection, or takes nothing any more. */
class ClientGone extends Error {}

/** Ends an answer that cannot be completed. @throws `error` where nothing was sent that says so */
function cut(response: ServerResponse, error: unknown, warn: (message: string) => void): void {
  const isGone = error instanceof ClientGone;
  if (!response.headersSent && !isGone) throw error;
  if (!isGone) warn('an export was cut');
  // A reset, not an end: what was sent is no whole answer.
  response.socket?.resetAndDestroy();
  response.destroy();
}

async function stream(
  request: IncomingMessage,
  response: ServerResponse,
  { requestId, actor, deadlineMs, input }: ExportArrival & { readonly input: ExportInput },
  { database, deadlineMs: ownMs, stallMs }: FrameExportOptions,
): Promise<void> {
  const client = watch(response);
  const call: Call = {
    requestId,
    operationName: `export.${input.frame}`,
    deadlineAt: performance.now() + (deadlineMs ?? ownMs),
    isServerDeadline: deadlineMs === null,
    signal: client.signal,
  };
  const target = await database.analytics.withSession(call, async (session) => {
    const datasources = restrict(createDatasources(session.sql, NO_RECORDER), actor);
    const { frameExports } = datasources;
    await client.orGone(session.command('begin isolation level repeatable read read only'));
    const opened = await client.orGone(openExport({ actor, datasources }, input));
    let lines = await client.orGone(frameExports.fetch());
    const sink = begin(request, response, input, opened);
    while (lines !== null) {
      // The next lines are read while these are sent. Whatever ends this ends the connection, too.
      const next = frameExports.fetch();
      next.catch(ignore);
      await write(sink, lines, client, Math.min(stallMs, call.deadlineAt - performance.now()));
      lines = await client.orGone(next);
    }
    await client.orGone(session.command('commit'));
    return sink;
  });
  target.end();
  await within(stallMs, client.orGone(finished(response)));
}

/** Tells when the client has gone, to whoever waits for something else. */
function watch(response: ServerResponse) {
  const ending = new AbortController();
  const gone = new Promise<never>((_resolve, reject) => {
    const leave = () => {
      if (response.writableFinished) return;
      ending.abort();
      reject(new ClientGone('the client has gone'));
    };
    if (response.closed) leave();
    else response.once('close', leave);
  });
  gone.catch(ignore);
  return {
    signal: ending.signal,
    orGone: <T>(work: Promise<T>): Promise<T> => Promise.race([work, gone]),
  };
}

function begin(
  request: IncomingMessage,
  response: ServerResponse,
  { frame, format }: ExportInput,
  { asOfSeq, columns }: OpenedExport,
): Writable {
  const isGzip = acceptsGzip(request.headers['accept-encoding']);
  response.writeHead(200, {
    'content-type': `${MEDIA_TYPES[format]}; charset=utf-8`,
    'content-disposition': `attachment; filename="${frame}.${format}"`,
    'cache-control': 'no-store',
    vary: 'accept, accept-encoding',
    'x-as-of-seq': asOfSeq,
    ...(isGzip ? { 'content-encoding': 'gzip' } : {}),
  });
  const sink = isGzip ? createFastGzip() : response;
  if (sink !== response) {
    sink.pipe(response);
    response.once('close', () => sink.destroy());
  }
  if (format === 'csv') sink.write(`${columns.join(',')}\n`);
  return sink;
}

async function write(
  sink: Writable,
  lines: Buffer,
  client: ReturnType<typeof watch>,
  msMax: number,
): Promise<void> {
  if (sink.write(lines)) return;
  const drained = new Promise<void>((resolve) => sink.once('drain', resolve));
  await within(msMax, client.orGone(drained));
}

function finished(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    if (response.writableFinished) resolve();
    else response.once('finish', () => resolve());
  });
}

async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new ClientGone('the client takes nothing')), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

function ignore(): void {
  // Whoever waits for it is told elsewhere.
}
