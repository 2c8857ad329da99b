import { createWriteStream } from 'node:fs';
import { readFile, rename, rm } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Command, Option } from 'commander';
import { adminKeyFile, type Config, readConfig } from '../config.ts';
import { FatalError } from '../errors.ts';

interface ExportOptions {
  readonly account?: string;
  readonly where?: string;
  readonly exchange?: string;
  readonly symbol?: string;
  readonly interval?: string;
  readonly range?: string;
  readonly columns?: string;
  readonly decimals: string;
  readonly format: string;
  readonly out?: string;
  readonly url?: string;
  readonly key?: string;
}

export function addExportCommand(program: Command): void {
  program
    .command('export')
    .description('Stream the rows of a frame from a running server, oldest first.')
    .argument('<frame>', 'predictions, trades, positions or candles')
    .option('--account <id>', 'may be left out by a key that is for one account')
    .option('--where <json>', 'the filter of the pages: {"symbols": ["BTCUSDT"]}')
    .option('--exchange <name>', 'of candles')
    .option('--symbol <name>', 'of candles')
    .option('--interval <name>', 'of candles')
    .option('--range <json>', 'of candles: {"from": …, "to": …}')
    .option('--columns <names>', 'comma separated; left out: all but those of horizons')
    .addOption(
      new Option('--decimals <form>').choices(['STRING', 'FLOAT']).default('STRING', 'exact'),
    )
    .addOption(new Option('--format <name>').choices(['ndjson', 'csv']).default('ndjson'))
    .option('--out <file>', 'appears when it is complete; left out: standard output')
    .option('--url <url>', 'of the server; left out: this configuration’s')
    .option('--key <key>', 'left out: the first key of this installation')
    .action(runExport);
}

/** @throws FatalError in one sentence; no file is left that is not complete */
async function runExport(frame: string, options: ExportOptions): Promise<void> {
  const { out, url, key, ...parameters } = options;
  const config = readConfig();
  const source = new URL(`/export/${encodeURIComponent(frame)}`, url ?? urlOf(config));
  for (const [name, value] of Object.entries(parameters)) source.searchParams.set(name, value);
  const body = await request(source, key ?? (await readKey(config)));
  if (out === undefined) return receive(body, process.stdout);
  const unfinished = `${out}.part`;
  try {
    await receive(body, createWriteStream(unfinished));
    await rename(unfinished, out);
  } catch (error) {
    await rm(unfinished, { force: true });
    throw error;
  }
}

function urlOf({ host, port }: Config): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

async function readKey(config: Config): Promise<string> {
  const file = adminKeyFile(config);
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch (error) {
    throw new FatalError(`There is no key in ${file}: give one with --key.`, { cause: error });
  }
}

async function request(source: URL, key: string): Promise<Readable> {
  let response: Response;
  try {
    response = await fetch(source, { headers: { authorization: `Bearer ${key}` } });
  } catch (error) {
    throw new FatalError(`No server answers at ${source.origin}.`, { cause: error });
  }
  if (!response.ok || response.body === null) throw await refusalOf(response);
  // The types of fetch and of streams know each other's web streams under two names.
  return Readable.fromWeb(response.body as Parameters<typeof Readable.fromWeb>[0]);
}

async function refusalOf(response: Response): Promise<FatalError> {
  const text = await response.text();
  try {
    // The form of every refusal of the server.
    const { errors } = JSON.parse(text) as { errors: readonly { message: string }[] };
    return new FatalError(`The server refused the export: ${errors[0]?.message}`);
  } catch {
    return new FatalError(`The server refused the export with status ${response.status}.`);
  }
}

async function receive(body: Readable, target: NodeJS.WritableStream): Promise<void> {
  try {
    await pipeline(body, target);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new FatalError(`The export broke off before its end: ${reason}.`, { cause: error });
  }
}
