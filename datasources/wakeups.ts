import type { Logger } from 'pino';
import type { Commit } from './append.ts';
import { createNotifyWakeups } from './notify-wakeups.ts';
import type { PostgresTarget } from './postgres.ts';
import { connectRedis } from './redis.ts';

/** Tells other nodes of commits. Hints only: a node that hears nothing finds them by its poll. */
export interface Wakeups {
  publish(commits: readonly Commit[]): void;
  close(): Promise<void>;
}

const CHANNEL = 'tradewind.commits';

export interface WakeupsOptions {
  readonly redisUrl: string | null;
  /** Whether the database carries them where Redis does not. */
  readonly isNotifyOn: boolean;
  readonly target: PostgresTarget;
  readonly log: Logger;
  /** Told what other nodes say, and what this one says as well. */
  readonly onCommit: (account: string, seq: string) => void;
}

/** @throws FatalError for a URL that is none */
export function openWakeups(options: WakeupsOptions): Wakeups {
  const { redisUrl, isNotifyOn, log, onCommit } = options;
  if (redisUrl !== null) return createWakeups(redisUrl, log, onCommit);
  return isNotifyOn ? createNotifyWakeups(options) : NO_WAKEUPS;
}

/** There is nobody to tell. */
const NO_WAKEUPS: Wakeups = { publish: () => {}, close: async () => {} };

/** @throws FatalError for a URL that is none */
export function createWakeups(
  url: string,
  log: Logger,
  onCommit: (account: string, seq: string) => void,
): Wakeups {
  const publisher = connectRedis(url, log, 'publisher');
  // A connection that subscribes takes no other commands; it subscribes again when it reconnects.
  const subscriber = connectRedis(url, log, 'subscriber');
  subscriber.on('ready', () => {
    subscriber.subscribe(CHANNEL).catch((error: unknown) => {
      log.warn({ err: error }, 'wake-ups of other nodes come by the poll only');
    });
  });
  subscriber.on('message', (_channel: string, message: string) => {
    const match = /^([\w-]+) (\d{1,19})$/.exec(message);
    if (match?.[1] !== undefined && match[2] !== undefined) onCommit(match[1], match[2]);
  });
  return {
    publish(commits) {
      for (const { account, seq } of commits) {
        publisher.publish(CHANNEL, `${account} ${seq}`).catch(() => {
          // The others poll; that Redis is away was logged once.
        });
      }
    },
    async close() {
      publisher.disconnect();
      subscriber.disconnect();
    },
  };
}
