import cluster from 'node:cluster';
import type { Logger } from 'pino';
import type { Config } from './config.ts';
import { FatalError } from './errors.ts';
import { startTradewind, type Tradewind } from './main.ts';
import { createRateLimiter } from './rate-limit.ts';
import type { FromWorker, ToWorker } from './worker-messages.ts';

/** How late one worker may know of what a key has spent at another. */
const USAGE_EVERY_MS = 100;

/**
 * Serves as one of several processes behind one port, until the process that keeps them says to stop
 * or SIGTERM does. An interrupt from a terminal reaches all of them; this one waits to be told.
 *
 * @throws FatalError where nobody keeps it
 */
export async function runWorker(config: Config, log: Logger): Promise<void> {
  const { worker } = cluster;
  if (worker === undefined) throw new FatalError('A worker is started by `tradewind start` alone.');
  const rateLimiter = createRateLimiter(config.rateLimits, undefined, true);
  const told = Promise.withResolvers<Extract<ToWorker, { kind: 'serve' }> | null>();
  const stopped = Promise.withResolvers<void>();
  const stop = () => {
    told.resolve(null);
    stopped.resolve();
  };
  process.on('SIGINT', () => {});
  process.on('SIGTERM', stop);
  process.on('message', (said: unknown) => {
    // Only the keeper of the workers says anything.
    const message = said as ToWorker;
    if (message.kind === 'serve') told.resolve(message);
    else if (message.kind === 'stop') stop();
    else if (message.kind === 'usage') rateLimiter.hear(message.worker, message.report);
    else rateLimiter.forget(message.worker);
  });
  // Nothing else keeps it running until it serves.
  process.channel?.ref();
  say({ kind: 'loaded' });
  const order = await told.promise;
  if (order !== null) {
    const tradewind = await start({ ...config, port: order.port }, log, order, rateLimiter);
    if (tradewind !== null) {
      const telling = setInterval(() => {
        const report = rateLimiter.report();
        if (report.length > 0) say({ kind: 'usage', report });
      }, USAGE_EVERY_MS);
      await stopped.promise;
      clearInterval(telling);
      await tradewind.stop();
    }
  }
  // Without the channel nothing keeps this process alive.
  worker.disconnect();
}

/** Null: it could not be started, and its keeper knows why. */
async function start(
  config: Config,
  log: Logger,
  { prepared }: Extract<ToWorker, { kind: 'serve' }>,
  rateLimiter: ReturnType<typeof createRateLimiter>,
): Promise<Tradewind | null> {
  try {
    const tradewind = await startTradewind(config, log, { prepared, rateLimiter });
    say({ kind: 'serving', url: tradewind.url });
    return tradewind;
  } catch (error) {
    if (!(error instanceof FatalError)) log.error({ err: error }, 'a worker could not start');
    say({ kind: 'failed', sentence: error instanceof Error ? error.message : String(error) });
    return null;
  }
}

function say(message: FromWorker): void {
  // A keeper that is gone takes its workers with it.
  process.send?.(message, undefined, undefined, () => {});
}
