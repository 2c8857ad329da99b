import { pino } from 'pino';
import { describe, expect, it, vi } from 'vitest';
import { connectRedis } from '../../../datasources/redis.ts';
import { eventually } from '../../support/eventually.ts';
import { HAS_REDIS, startTestRedis } from '../../support/redis.ts';

describe.skipIf(!HAS_REDIS)('a connection to Redis', () => {
  it('is kept while commands are answered', async () => {
    const redis = await startTestRedis();
    const client = connectRedis(redis.url, pino({ level: 'silent' }), 'test');
    const onClose = vi.fn();
    client.on('close', onClose);
    try {
      await eventually(() => expect(client.status).toBe('ready'));
      for (let command = 0; command < 200; command += 1) await client.ping();
      expect(onClose).not.toHaveBeenCalled();
    } finally {
      client.disconnect();
      await redis.stop();
    }
  });

  it('fails its commands in time when Redis is frozen, and is there again after that', async () => {
    const redis = await startTestRedis();
    const client = connectRedis(redis.url, pino({ level: 'silent' }), 'test');
    try {
      await eventually(() => client.ping());
      redis.freeze();
      await expect(client.ping()).rejects.toThrow();
      redis.thaw();
      await eventually(() => client.ping());
    } finally {
      redis.thaw();
      client.disconnect();
      await redis.stop();
    }
  });
});
