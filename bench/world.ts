import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import postgres from 'postgres';
import { startEmbeddedPostgres } from '../datasources/embedded-postgres.ts';
import type { PostgresTarget } from '../datasources/postgres.ts';
import { migrate } from '../migrations/migrate.ts';
import { type Client, createClient } from './client.ts';
import type { Bench } from './table.ts';

/** The PostgreSQL that the product embeds, with the settings it has there: fsync is on. */
export interface Postgres {
  createDatabase(name: string): Promise<PostgresTarget>;
  stop(): Promise<void>;
}

/** Two fresh databases of one server: one behind the product, one that the driver writes to. */
export interface World {
  /** Sends to the product, over connections that are kept alive. */
  readonly client: Client;
  readonly url: string;
  readonly key: string;
  /** Resident memory of the product's process (VmRSS, without PostgreSQL), in kB of 1024. */
  readResidentKb(): Promise<number>;
  /** The database behind the product, for a limit that only reads. */
  readonly product: PostgresTarget;
  /** One connection of the driver to the database of the limit. */
  openDriver(): postgres.Sql;
  /** One to the database of the product, to read the very rows that it reads. */
  openReader(): postgres.Sql;
  /**
   * Counts the rows of both databases for the planner, as autovacuum does once a minute: a round is
   * shorter, and both sides would keep the plans of empty tables.
   */
  analyze(): Promise<void>;
  /** Runs `work` with another server over the database of the product. */
  withServer<T>(
    environment: Readonly<Record<string, string>>,
    work: (url: string) => Promise<T>,
  ): Promise<T>;
  /** Forgets how late the product's event loop was until now. */
  resetLoopDelay(): void;
  /** How late it was since then, by turns of the loop: the p99 in milliseconds. */
  readLoopDelayP99(): Promise<number>;
  /** What the product holds in its heap when all garbage is collected, which this does. */
  readHeapBytes(): Promise<number>;
}

export async function startPostgres(): Promise<Postgres> {
  const home = await mkdtemp(join(tmpdir(), 'tw-bench-'));
  const embedded = await startEmbeddedPostgres({ home });
  const target = { ...embedded.connection, isPrepareOn: true, isTlsOn: false };
  return {
    async createDatabase(name) {
      const driver = openDriver(target);
      await driver.unsafe(`create database ${name}`);
      await driver.end({ timeout: 1 });
      return { ...target, database: name };
    },
    async stop() {
      await embedded.stop();
      await rm(home, { recursive: true, force: true });
    },
  };
}

/** Runs `work` with a server and databases of its own. */
export async function withWorld<T>(
  bench: Bench,
  name: string,
  work: (world: World) => Promise<T>,
): Promise<T> {
  const product = await bench.postgres.createDatabase(`product_${name}`);
  const limit = await bench.postgres.createDatabase(`limit_${name}`);
  await migrate(limit);
  const home = await mkdtemp(join(tmpdir(), 'tw-bench-home-'));
  const server = await startServer(product, home, bench.profileFolder);
  const key = (await readFile(join(home, 'admin-key'), 'utf8')).trim();
  const client = createClient(server.url, key);
  const drivers: postgres.Sql[] = [];
  const open = (target: PostgresTarget) => {
    const driver = openDriver(target);
    drivers.push(driver);
    return driver;
  };
  try {
    return await work({
      client,
      url: server.url,
      key,
      readResidentKb: () => readResidentKb(server.pid),
      openDriver: () => open(limit),
      openReader: () => open(product),
      async analyze() {
        for (const target of [product, limit]) {
          const driver = openDriver(target);
          await driver`analyze`;
          await driver.end({ timeout: 1 });
        }
      },
      async withServer(environment, task) {
        const another = await startServer(product, home, bench.profileFolder, environment);
        try {
          return await task(another.url);
        } finally {
          await another.stop();
        }
      },
      resetLoopDelay: () => server.resetLoopDelay(),
      readLoopDelayP99: () => server.readLoopDelayP99(),
      readHeapBytes: () => server.readHeapBytes(),
      product,
    });
  } finally {
    for (const driver of drivers) await driver.end({ timeout: 1 });
    client.close();
    await server.stop();
    await rm(home, { recursive: true, force: true });
  }
}

function openDriver({ socketPath, user, database }: PostgresTarget): postgres.Sql {
  // The library's types do not know that `path` is the socket itself.
  const options = { path: socketPath, user, database, max: 1, onnotice: () => undefined };
  return postgres(options as postgres.Options<Record<string, postgres.PostgresType>>);
}

async function startServer(
  target: PostgresTarget,
  home: string,
  profileFolder: string | null,
  environment: Readonly<Record<string, string>> = {},
) {
  const host = encodeURIComponent(dirname(target.socketPath ?? ''));
  const profiling = profileFolder === null ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileFolder}`];
  const entry = join(import.meta.dirname, '..', 'bin', 'tradewind.js');
  const watching = ['loop-delay.ts', 'heap.ts'].flatMap((file) => [
    '--import',
    join(import.meta.dirname, file),
  ]);
  const launch = await readLaunch();
  const options = [...launch.options, ...profiling, ...watching];
  const child = spawn(process.execPath, [...options, entry, 'start'], {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    env: {
      ...launch.environment,
      PATH: process.env.PATH,
      PORT: '0',
      LOG_LEVEL: 'error',
      // Of one key: what is measured is not its limit.
      RATE_LIMIT_PER_SECOND: '1000000000',
      RATE_LIMIT_BURST: '1000000000',
      SOCKETS_PER_KEY_MAX: '10000',
      TRADEWIND_HOME: home,
      DATABASE_URL: `postgres://${target.user}@localhost/${target.database}?host=${host}`,
      ...environment,
    },
  });
  const exited = once(child, 'exit');
  let output = '';
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      const [, found] = /ready at (\S+)/.exec(output) ?? [];
      if (found !== undefined) resolve(found);
    });
    exited.then(() => reject(new Error(`the server ended before it was ready: ${output}`)), reject);
  });
  return {
    url,
    pid: child.pid ?? 0,
    resetLoopDelay() {
      child.send('reset');
    },
    async readLoopDelayP99(): Promise<number> {
      child.send('read');
      const [message] = await once(child, 'message');
      return Number(message);
    },
    async readHeapBytes(): Promise<number> {
      child.send('heap');
      const [message] = await once(child, 'message');
      return Number(message);
    },
    async stop() {
      child.kill('SIGTERM');
      await exited;
    },
  };
}

/** What `npm start` gives to Node: options, and what its allocator reads from the environment. */
async function readLaunch() {
  const file = join(import.meta.dirname, '..', 'package.json');
  const { scripts } = JSON.parse(await readFile(file, 'utf8'));
  const words = String(scripts.start).split(' ');
  const settings = words.slice(0, words.indexOf('node')).map((word) => word.split('='));
  return {
    options: words.filter((word) => word.startsWith('--')),
    environment: Object.fromEntries(settings) as Readonly<Record<string, string>>,
  };
}

async function readResidentKb(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const [, kilobytes] = /^VmRSS:\s+(\d+) kB$/m.exec(status) ?? [];
  return Number(kilobytes);
}
