import cluster, { type Worker } from 'node:cluster';
import { createServer } from 'node:net';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Config } from './config.ts';
import type { EmbeddedPostgres } from './datasources/embedded-postgres.ts';
import { FatalError } from './errors.ts';
import type { AdminKey } from './first-key.ts';
import { createHoldings, type UsageReport } from './key-usage.ts';
import { type Prepared, prepare } from './prepare.ts';
import type { FromWorker, ToWorker } from './worker-messages.ts';

/** Several processes that serve behind one port. */
export interface Workers {
  readonly url: string;
  readonly config: Config;
  readonly embedded: EmbeddedPostgres | null;
  readonly appliedMigrations: readonly string[];
  readonly adminKey: AdminKey;
  /** Drains all of them, then stops the database; what takes longer than `shutdownMs` is killed. */
  stop(): Promise<void>;
  /** Resolves with a sentence when something they cannot live without is gone. */
  readonly failed: Promise<string>;
}

const PROGRAM = join(import.meta.dirname, 'bin', 'tradewind.js');
/** A worker cuts what is late by itself; this much later it is killed. */
const STOP_GRACE_MS = 2000;
const BACKOFF_MS_MIN = 100;
const BACKOFF_MS_MAX = 10_000;
/** One that lived so long did not fail because of how it is started. */
const STABLE_MS = 30_000;

/**
 * Opens the database once and keeps `config.workers` processes serving it: one that ends is replaced,
 * later each time it ends soon.
 *
 * @throws FatalError in one sentence when one of them cannot start; nothing is left running then
 */
export async function startWorkers(config: Config, log: Logger): Promise<Workers> {
  const { opened, prepared } = await prepare(config, log);
  // What a worker has no use for, it is not told.
  const adminKey = { ...prepared.adminKey, token: null };
  const keeper = createKeeper(config, log, { ...prepared, adminKey });
  try {
    const url = await keeper.start();
    let stopped: Promise<void> | null = null;
    const stop = async () => {
      await keeper.stop();
      await opened.close();
    };
    return {
      url,
      config,
      embedded: opened.embedded,
      appliedMigrations: prepared.appliedMigrations,
      adminKey: prepared.adminKey,
      stop: () => {
        stopped ??= stop();
        return stopped;
      },
      failed:
        opened.embedded === null
          ? new Promise(() => {})
          : opened.embedded.exited.then(() => 'The embedded PostgreSQL has ended unexpectedly.'),
    };
  } catch (error) {
    await keeper.stop();
    await opened.close();
    throw error;
  }
}

function createKeeper(config: Config, log: Logger, prepared: Prepared) {
  const workers = createCrew();
  const first = Promise.withResolvers<string>();
  // Nobody looks at it any more once they serve.
  first.promise.catch(() => {});
  const replacement = createReplacement(fork);
  let port = config.port;
  let serving = 0;
  let isStopping = false;

  function fork(): void {
    const worker = cluster.fork();
    const startedAt = performance.now();
    workers.add(worker);
    worker.on('message', (message: FromWorker) => hear(worker, message));
    worker.on('error', (error) => log.warn({ err: error }, 'a worker could not be spoken to'));
    worker.once('exit', (code: number | null, signal: string | null) => {
      workers.delete(worker);
      if (isStopping) return;
      first.reject(new FatalError('A worker has ended while it was started.'));
      log.error({ worker: worker.process.pid, code, signal }, 'a worker has ended: it is replaced');
      replacement.afterMs(performance.now() - startedAt);
    });
  }

  function hear(worker: Worker, message: FromWorker): void {
    switch (message.kind) {
      case 'loaded':
        workers.introduce(worker);
        send(worker, isStopping ? { kind: 'stop' } : { kind: 'serve', port, prepared });
        break;
      case 'serving':
        serving += 1;
        if (serving === config.workers) first.resolve(message.url);
        break;
      case 'failed':
        log.error(`A worker could not start: ${message.sentence}`);
        first.reject(new FatalError(message.sentence));
        break;
      case 'usage':
        workers.use(worker, message.report);
        break;
    }
  }

  return {
    /** Resolves with their address when all of them serve. @throws FatalError */
    async start(): Promise<string> {
      // All of them, and those that follow, take the same.
      if (port === 0) port = await freePort(config.host);
      // All listen to one socket, and whoever is free takes what comes. Handed out in turn, what a
      // killed worker had not taken yet would stay open for ever, and be answered by nobody.
      cluster.schedulingPolicy = cluster.SCHED_NONE;
      cluster.setupPrimary({ exec: PROGRAM, args: ['worker'] });
      for (let count = 0; count < config.workers; count += 1) fork();
      return first.promise;
    },
    async stop(): Promise<void> {
      isStopping = true;
      replacement.stop();
      const late = setTimeout(() => {
        log.warn(`Not every worker ended within ${config.shutdownMs} ms: killing them.`);
        workers.kill();
      }, config.shutdownMs + STOP_GRACE_MS);
      await workers.stop();
      clearTimeout(late);
    },
  };
}

/** The workers that run, and what keys use of each. */
function createCrew() {
  const workers = new Map<number, Worker>();
  const holdings = createHoldings();
  let allGone = (): void => {};

  function sendOthers({ id: own }: Worker, message: ToWorker): void {
    for (const [id, worker] of workers) if (id !== own) send(worker, message);
  }

  return {
    add(worker: Worker): void {
      workers.set(worker.id, worker);
    },
    delete(worker: Worker): void {
      workers.delete(worker.id);
      holdings.delete(worker.id);
      sendOthers(worker, { kind: 'gone', worker: worker.id });
      if (workers.size === 0) allGone();
    },
    /** Tells a new one what the others hold. */
    introduce(worker: Worker): void {
      for (const [id, report] of holdings.all()) {
        send(worker, { kind: 'usage', worker: id, report });
      }
    },
    use(worker: Worker, report: UsageReport): void {
      holdings.add(worker.id, report);
      sendOthers(worker, { kind: 'usage', worker: worker.id, report });
    },
    /** Resolves when all have ended; there are no new ones from here on. */
    async stop(): Promise<void> {
      if (workers.size === 0) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      allGone = resolve;
      for (const worker of workers.values()) send(worker, { kind: 'stop' });
      await promise;
    },
    kill(): void {
      for (const worker of workers.values()) worker.process.kill('SIGKILL');
    },
  };
}

function send(worker: Worker, message: ToWorker): void {
  // One that has ended is told of by its exit.
  if (worker.isConnected()) worker.send(message, () => {});
}

/** Starts another one for one that has ended: later each time when it did not live long. */
function createReplacement(fork: () => void) {
  const timers = new Set<NodeJS.Timeout>();
  let failures = 0;
  return {
    afterMs(livedMs: number): void {
      failures = livedMs > STABLE_MS ? 0 : failures + 1;
      const waitMs = Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** Math.min(failures - 1, 10));
      const start = () => {
        timers.delete(timer);
        fork();
      };
      const timer = setTimeout(start, failures === 0 ? 0 : waitMs);
      timers.add(timer);
    },
    stop(): void {
      for (const timer of timers) clearTimeout(timer);
    },
  };
}

/** 0: there is none, which whoever listens will say. */
function freePort(host: string): Promise<number> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(0));
    probe.listen(0, host, () => {
      const address = probe.address();
      const port = typeof address === 'object' && address !== null ? address.port : 0;
      probe.close(() => resolve(port));
    });
  });
}
