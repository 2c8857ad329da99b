import { type IncomingMessage, request } from 'node:http';
import type { Address } from './writers.ts';

/** An export whose bytes wait until they are read. */
export function openExport(
  { url, key }: Address,
  path: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const sent = request(`${url}/export/${path}`, {
      headers: { authorization: `Bearer ${key}`, ...headers },
    });
    sent.once('response', (response) => resolve(response));
    sent.once('error', reject);
    sent.end();
  });
}

/** The whole text. @throws when it broke off before its end */
export async function readAll(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

/** CSV as it is read by whoever follows RFC 4180; null for an empty cell without quotes. */
export function parseCsv(text: string): readonly (readonly (string | null)[])[] {
  const cell = /(?:"((?:[^"]|"")*)"|([^,\n"]*))(,|\n)/gy;
  const rows: (string | null)[][] = [];
  let row: (string | null)[] = [];
  let end = 0;
  for (const [whole, quoted, plain = '', after] of text.matchAll(cell)) {
    end += whole.length;
    row.push(quoted?.replaceAll('""', '"') ?? (plain === '' ? null : plain));
    if (after === ',') continue;
    rows.push(row);
    row = [];
  }
  if (end !== text.length) throw new Error(`no CSV at ${end}: ${text.slice(end, end + 80)}`);
  return rows;
}
