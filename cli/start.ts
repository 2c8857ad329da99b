import type { Command } from 'commander';
import { readConfig } from '../config.ts';
import { FatalError } from '../errors.ts';
import { createLog, startTradewind, type Tradewind } from '../main.ts';
import { runWorker } from '../worker.ts';
import { startWorkers, type Workers } from '../workers.ts';

/** A server that runs until a signal ends it. */
export interface Serving {
  readonly url: string;
  /** Null where the first key is not on this machine. */
  readonly adminKey: string | null;
  /** Ends the server as a signal would. */
  stop(): Promise<void>;
  /** Resolves when the server has ended; rejects when it failed. */
  readonly stopped: Promise<void>;
}

export function addStartCommand(program: Command): void {
  program
    .command('start')
    .description('Start the server; without DATABASE_URL with an embedded PostgreSQL.')
    .action(async () => {
      const serving = await startServing();
      await serving.stopped;
    });
}

/** What `tradewind start` starts where WORKERS asks for several processes. */
export function addWorkerCommand(program: Command): void {
  program.command('worker', { hidden: true }).action(() => {
    const config = readConfig();
    return runWorker(config, createLog(config));
  });
}

/**
 * Starts the server, says what runs where, and ends it on SIGINT or SIGTERM.
 *
 * @throws FatalError in one sentence
 */
export async function startServing(): Promise<Serving> {
  const config = readConfig();
  const log = createLog(config);
  const start = config.workers > 1 ? startWorkers : startTradewind;
  const tradewind: Workers | Tradewind = await start(config, log);
  process.stdout.write(`${describe(tradewind)}\n`);
  const stopped = untilStopped(tradewind);
  return {
    url: tradewind.url,
    adminKey: tradewind.adminKey.token,
    stop: () => tradewind.stop(),
    stopped,
  };
}

async function untilStopped(tradewind: Workers | Tradewind): Promise<void> {
  const signal = new Promise<string>((resolve) => {
    for (const name of ['SIGINT', 'SIGTERM'] as const) {
      process.once(name, () => {
        // A second one does not wait.
        process.once(name, () => process.exit(1));
        resolve(name);
      });
    }
  });
  const failure = await Promise.race([signal.then(() => null), tradewind.failed]);
  process.stdout.write('Stopping: what is under way ends first.\n');
  await tradewind.stop();
  if (failure !== null) throw new FatalError(failure);
  process.stdout.write('Stopped.\n');
}

function describe(tradewind: Workers | Tradewind): string {
  const { url, config, embedded, appliedMigrations, adminKey } = tradewind;
  const database =
    embedded === null
      ? 'DATABASE_URL'
      : `embedded PostgreSQL ${embedded.version}, data in ${embedded.dataFolder}`;
  const migrations = appliedMigrations.length;
  return [
    '',
    `Tradewind is ready at ${url}`,
    `  GraphiQL    ${url}/graphql${config.isExplorerOn ? '' : ' (off: set EXPLORE=on)'}`,
    `  WebSocket   ${url.replace('http', 'ws')}/graphql (graphql-transport-ws)`,
    `  Database    ${database}${migrations === 0 ? '' : `; ${migrations} migrations applied`}`,
    ...(config.redisUrl === null ? [] : ['  Redis       wake-ups between nodes']),
    ...(config.workers === 1 ? [] : [`  Workers     ${config.workers} processes`]),
    ...keyLines(adminKey),
    '',
  ].join('\n');
}

function keyLines({ file, token, isNew }: Tradewind['adminKey']): readonly string[] {
  if (isNew) return [`  First key   ${token}`, `              kept in ${file}; shown only now`];
  if (token !== null) return [`  Admin key   in ${file}`];
  return ['  Admin key   not on this machine; `npx tradewind keys create` makes another'];
}
