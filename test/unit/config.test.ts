import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { adminKeyFile, ENVIRONMENT_VARIABLES, readConfig } from '../../config.ts';
import { FatalError } from '../../errors.ts';

const ROOT = join(import.meta.dirname, '..', '..');

async function readExample(): Promise<readonly (readonly [string, string])[]> {
  const text = await readFile(join(ROOT, '.env.example'), 'utf8');
  return text
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]);
}

describe('readConfig', () => {
  it('has a default for everything', () => {
    expect(readConfig({})).toEqual({
      mode: 'development',
      host: '127.0.0.1',
      port: 4000,
      databaseUrl: null,
      isPrepareOn: true,
      isTlsOn: true,
      redisUrl: null,
      isNotifyOn: false,
      workers: 1,
      isCacheOn: true,
      home: resolve('.tradewind'),
      logLevel: 'error',
      slots: { trading: 4, interactive: 4, analytics: 2, feed: 1 },
      deadlineMs: 10_000,
      analyticsDeadlineMs: 30_000,
      deadlineMaxMs: 60_000,
      exportDeadlineMs: 600_000,
      exportStallMs: 30_000,
      shutdownMs: 25_000,
      heartbeatMs: 10_000,
      rateLimits: {
        unitsPerSecond: 200_000,
        unitsBurst: 2_000_000,
        operationsPerKeyMax: 256,
        socketsPerKeyMax: 2000,
        socketsMax: 10_000,
      },
      isExplorerOn: true,
      retentionDays: { signals: null, predictions: null, candles: null, changes: null },
    });
  });

  it('has more slots and a closed explorer in production', () => {
    const config = readConfig({ NODE_ENV: 'production' });
    expect(config.slots).toEqual({ trading: 8, interactive: 8, analytics: 4, feed: 1 });
    expect(config.isExplorerOn).toBe(false);
  });

  it('opens the explorer in production when it is told to', () => {
    expect(readConfig({ NODE_ENV: 'production', EXPLORE: 'on' }).isExplorerOn).toBe(true);
  });

  it('gives all workers together no more than 50 connections, and each one of every lane', () => {
    for (const NODE_ENV of ['development', 'production']) {
      for (let workers = 1; workers <= 10; workers += 1) {
        const { slots, isNotifyOn } = readConfig({ NODE_ENV, WORKERS: String(workers) });
        const sizes = Object.values(slots);
        const each = sizes.reduce((sum, size) => sum + size, isNotifyOn ? 1 : 0);
        expect(workers * each).toBeLessThanOrEqual(50);
        expect(Math.min(...sizes)).toBeGreaterThanOrEqual(1);
      }
    }
    expect(readConfig({ WORKERS: '2' }).slots).toEqual(readConfig({}).slots);
  });

  it('lets the database wake nodes where there are several and no Redis', () => {
    expect(readConfig({ WORKERS: '2' }).isNotifyOn).toBe(true);
    expect(readConfig({ NOTIFY: 'on' }).isNotifyOn).toBe(true);
    expect(readConfig({ WORKERS: '2', NOTIFY: 'off' }).isNotifyOn).toBe(false);
    const REDIS_URL = 'redis://localhost:6379';
    expect(readConfig({ WORKERS: '2', NOTIFY: 'on', REDIS_URL }).isNotifyOn).toBe(false);
  });

  it('takes what the variables say', () => {
    const config = readConfig({
      PORT: '0',
      HOST: '0.0.0.0',
      DATABASE_URL: 'postgres://database/tradewind',
      DATABASE_PREPARE: 'off',
      DATABASE_TLS: 'off',
      REDIS_URL: 'redis://cache',
      TRADEWIND_HOME: '/var/lib/tradewind',
      TRADING_SLOTS: '32',
      RETENTION_DAYS_CHANGES: '365',
    });
    expect(config).toMatchObject({
      port: 0,
      host: '0.0.0.0',
      databaseUrl: 'postgres://database/tradewind',
      isPrepareOn: false,
      isTlsOn: false,
      redisUrl: 'redis://cache',
      home: '/var/lib/tradewind',
      slots: { trading: 32, interactive: 4, analytics: 2, feed: 1 },
      retentionDays: { signals: null, predictions: null, candles: null, changes: 365 },
    });
  });

  it('lets a request ask for what it gets without asking', () => {
    const { deadlineMaxMs } = readConfig({ DEADLINE_MAX_MS: '100', DEADLINE_MS: '90000' });
    expect(deadlineMaxMs).toBe(90_000);
    expect(readConfig({ DEADLINE_MAX_MS: '100' }).deadlineMaxMs).toBe(30_000);
  });

  it('takes an empty variable for one that is not set', () => {
    const empty = Object.fromEntries(ENVIRONMENT_VARIABLES.map((name) => [name, '']));
    expect(readConfig(empty)).toEqual(readConfig({}));
  });

  it('ignores variables it does not know', () => {
    expect(readConfig({ PATH: '/bin', PORTS: 'many' })).toEqual(readConfig({}));
  });

  it.each([
    ['NODE_ENV', 'staging'],
    ['PORT', '65536'],
    ['PORT', '-1'],
    ['PORT', 'http'],
    ['PORT', '80.5'],
    ['DATABASE_PREPARE', 'yes'],
    ['DATABASE_TLS', 'on'],
    ['LOG_LEVEL', 'loud'],
    ['TRADING_SLOTS', '0'],
    ['INTERACTIVE_SLOTS', '33'],
    ['ANALYTICS_SLOTS', 'all'],
    ['DEADLINE_MS', '99'],
    ['ANALYTICS_DEADLINE_MS', '600001'],
    ['DEADLINE_MAX_MS', '99'],
    ['SHUTDOWN_MS', '600001'],
    ['HEARTBEAT_MS', '49'],
    ['RATE_LIMIT_PER_SECOND', '0'],
    ['RATE_LIMIT_BURST', '1000000001'],
    ['OPERATIONS_PER_KEY_MAX', '10001'],
    ['SOCKETS_PER_KEY_MAX', '0'],
    ['SOCKETS_MAX', '100001'],
    ['EXPLORE', 'true'],
    ['RETENTION_DAYS_SIGNALS', '0'],
    ['RETENTION_DAYS_CHANGES', '36501'],
  ])('refuses %s=%s in one sentence that names it', (name, value) => {
    const read = () => readConfig({ [name]: value });
    expect(read).toThrow(FatalError);
    expect(read).toThrow(new RegExp(`^Wrong configuration: ${name}: [^\\n]+\\.$`));
  });

  it('names every variable that is wrong', () => {
    const read = () => readConfig({ PORT: 'http', EXPLORE: 'true' });
    expect(read).toThrow(/^Wrong configuration: PORT: [^;]+; EXPLORE: [^;]+\.$/);
  });
});

describe('adminKeyFile', () => {
  it('is in the home folder', () => {
    expect(adminKeyFile(readConfig({ TRADEWIND_HOME: '/srv/tw' }))).toBe('/srv/tw/admin-key');
  });
});

describe('.env.example', () => {
  it('lists precisely the variables that are read', async () => {
    const names = (await readExample()).map(([name]) => name);
    expect(names.toSorted()).toEqual(ENVIRONMENT_VARIABLES.toSorted());
  });

  it('holds the defaults', async () => {
    expect(readConfig(Object.fromEntries(await readExample()))).toEqual(readConfig({}));
  });
});
