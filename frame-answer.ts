import { pipeline, Readable } from 'node:stream';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ExecutionResult } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import { acceptsGzip, createFastGzip } from './compression.ts';
import { stringifyInPieces } from './datasources/json-text.ts';
import type { OperationContext } from './execution.ts';

/**
 * Sends answers with frames in pieces: their columns pass from the database to the socket as they
 * are. Every other answer is left to yoga.
 */
export function useFrameAnswers(): Plugin<OperationContext> {
  return {
    onResultProcess({ request, setResultProcessor, serverContext }) {
      const { operation } = serverContext as unknown as OperationContext;
      if (!operation.frames.isUsed) return;
      const { headers } = request;
      setResultProcessor((result, { Response }) => {
        const pieces = stringifyInPieces(result);
        const isGzip = acceptsGzip(headers.get('accept-encoding'));
        const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
        // The types of fetch know no Readable; that of yoga pipes it with back-pressure.
        const body = (isGzip ? compressed(pieces) : Readable.from(pieces)) as unknown as BodyInit;
        return new Response(body, {
          status: 200,
          headers: [
            ['content-type', `${mediaTypeOf(headers.get('accept'))}; charset=utf-8`],
            ['vary', 'accept-encoding'],
            isGzip ? ['content-encoding', 'gzip'] : ['content-length', String(length)],
          ],
        });
      }, 'application/json');
    },
  };
}

/** As above, straight to the socket. */
export function sendFrameAnswer(
  { headers }: IncomingMessage,
  response: ServerResponse,
  result: ExecutionResult,
  mediaType: string,
): void {
  const pieces = stringifyInPieces(result);
  const encoding = headers['accept-encoding'];
  const isGzip = acceptsGzip(typeof encoding === 'string' ? encoding : null);
  const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
  response.setHeader('content-type', `${mediaType}; charset=utf-8`);
  response.setHeader('vary', 'accept-encoding');
  if (isGzip) response.setHeader('content-encoding', 'gzip');
  else response.setHeader('content-length', length);
  response.writeHead(200);
  // A client that has gone ends it; what it has not taken is given back when its response closes.
  if (isGzip) pipeline(compressed(pieces), response, () => {});
  else sendAtOnce(response, pieces);
}

/** They are in memory already, so that waiting between them would keep nothing out of it. */
function sendAtOnce(response: ServerResponse, pieces: readonly Buffer[]): void {
  if (response.destroyed) return;
  response.cork();
  for (const piece of pieces) response.write(piece);
  response.end();
}

function compressed(pieces: readonly Buffer[]): Readable {
  const gzip = createFastGzip();
  // Whoever reads it is told of an error, and ends it by destroying it.
  return pipeline(Readable.from(pieces), gzip, () => {});
}

const RESPONSE_TYPE = 'application/graphql-response+json';

function mediaTypeOf(accept: string | null): string {
  return accept?.includes(RESPONSE_TYPE) === true ? RESPONSE_TYPE : 'application/json';
}
