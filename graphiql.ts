import { hash as digest } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { renderGraphiQL } from '@graphql-yoga/render-graphiql';
import { EXAMPLE_TABS } from './graphiql-tabs.ts';

/** The page as it is sent: made and compressed once, on the first request. */
interface Page {
  readonly body: Buffer;
  readonly etag: string;
}

const KEY_SCRIPT_FILE = join(import.meta.dirname, 'graphiql-key.js');

let page: Promise<Page> | null = null;

/** A browser that opens the endpoint; programs ask for JSON. */
export function isGraphiqlRequest(request: IncomingMessage): boolean {
  if (request.method !== 'GET' || request.url?.includes('query=')) return false;
  return request.headers.accept?.includes('text/html') ?? false;
}

/** GraphiQL with its scripts inside: nothing is loaded from elsewhere. */
export async function sendGraphiql(
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  page ??= render();
  const { body, etag } = await page;
  const headers = { etag, 'cache-control': 'no-cache', 'x-content-type-options': 'nosniff' };
  if (request.headers['if-none-match'] === etag) {
    response.writeHead(304, headers);
    response.end();
    return;
  }
  response.writeHead(200, {
    ...headers,
    'content-type': 'text/html; charset=utf-8',
    'content-encoding': 'gzip',
    'content-length': body.length,
  });
  response.end(body);
}

async function render(): Promise<Page> {
  const html = renderGraphiQL({
    title: 'Tradewind',
    endpoint: '/graphql',
    // Over WebSocket the page would leave out the headers, and with them the key.
    subscriptionsProtocol: 'SSE',
    isHeadersEditorEnabled: true,
    shouldPersistHeaders: true,
    defaultTabs: EXAMPLE_TABS.map(({ query, variables }) => ({
      query,
      variables: variables === null ? null : JSON.stringify(variables, null, 2),
    })),
  });
  const keyScript = await readFile(KEY_SCRIPT_FILE, 'utf8');
  const whole = html.replace('<noscript>', () => `<script>${keyScript}</script><noscript>`);
  const body = await promisify(gzip)(whole, { level: 6 });
  return { body, etag: `"${digest('sha256', whole, 'hex').slice(0, 32)}"` };
}
