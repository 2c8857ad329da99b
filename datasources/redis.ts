import { Redis, type RedisOptions } from 'ioredis';
import type { Logger } from 'pino';
import { FatalError } from '../errors.ts';

/** Redis may be lost at any time: no command waits for it longer than this. */
const COMMAND_MS_MAX = 100;
/** A connection on which nothing comes back is cut, and another one is made. */
const SOCKET_MS_MAX = 1000;
const RECONNECT_MS_MAX = 5000;

// The defaults of the library keep commands for minutes and repeat some that were carried out.
const OPTIONS: RedisOptions = {
  commandTimeout: COMMAND_MS_MAX,
  // From a command that is written to the first byte that comes back; 0 would be no time at all.
  socketTimeout: SOCKET_MS_MAX,
  connectTimeout: 2000,
  maxRetriesPerRequest: 0,
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  // It would subscribe without a listener for the refusal, which ends the process.
  autoResubscribe: false,
  enableAutoPipelining: true,
  retryStrategy: (attempts) => Math.min(RECONNECT_MS_MAX, 50 * 2 ** Math.min(attempts, 7)),
};

/**
 * A client that is down rather than slow: commands fail within 100 ms, it connects again by itself,
 * and says once in the log when Redis goes and when it is back.
 *
 * @throws FatalError for a URL that is none
 */
export function connectRedis(url: string, log: Logger, name: string): Redis {
  if (!URL.canParse(url) || !/^rediss?:$/.test(new URL(url).protocol)) {
    throw new FatalError('REDIS_URL must look like redis://host:6379 or rediss://host:6379.');
  }
  const client = new Redis(url, { ...OPTIONS, connectionName: `tradewind ${name}` });
  let isDown = false;
  client.on('error', (error: Error & { code?: string }) => {
    // The message may hold an address with its password; the code does not.
    if (!isDown) log.warn({ code: error.code ?? error.name, client: name }, 'Redis is away');
    isDown = true;
  });
  client.on('ready', () => {
    if (isDown) log.info({ client: name }, 'Redis is back');
    isDown = false;
  });
  return client;
}
