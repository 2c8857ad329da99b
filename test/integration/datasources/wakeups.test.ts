import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createWakeups, type Wakeups } from '../../../datasources/wakeups.ts';
import { eventually } from '../../support/eventually.ts';
import { HAS_REDIS, startTestRedis, type TestRedis } from '../../support/redis.ts';

const log = pino({ level: 'silent' });

describe.skipIf(!HAS_REDIS)('wake-ups through Redis', () => {
  let redis: TestRedis;
  let here: Wakeups;
  let there: Wakeups;
  const heard: string[] = [];

  beforeAll(async () => {
    redis = await startTestRedis();
    here = createWakeups(redis.url, log, () => {});
    there = createWakeups(redis.url, log, (account, seq) => heard.push(`${account} ${seq}`));
  });

  afterAll(async () => {
    await here.close();
    await there.close();
    await redis.stop();
  });

  /** Publishes until it is heard: a hint may be lost, and connections come up when they do. */
  async function untilHeard(account: string): Promise<void> {
    await eventually(() => {
      here.publish([{ account, seq: '7' }]);
      expect(heard).toContain(`${account} 7`);
    });
  }

  it('tells another node of a commit', async () => {
    await untilHeard('main');
  });

  it('loses hints, and nothing else, while Redis is gone, and goes on when it is back', async () => {
    await redis.kill();
    expect(() => here.publish([{ account: 'lost', seq: '1' }])).not.toThrow();
    await redis.restart();
    await untilHeard('back');
    expect(heard).not.toContain('lost 1');
  });
});

describe('a URL of Redis', () => {
  it('is refused in a sentence without the password in it', () => {
    expect(() => createWakeups('http://user:secret@host', log, () => {})).toThrow(
      'REDIS_URL must look like redis://host:6379 or rediss://host:6379.',
    );
  });
});
