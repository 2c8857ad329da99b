import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  CircuitState,
  ConstantBackoff,
  circuitBreaker,
  ConsecutiveBreaker,
  handleAll,
  retry,
  SamplingBreaker,
} from 'cockatiel';
import { GraphQLError, parse } from 'graphql';
import { useServer } from 'graphql-ws/use/ws';
import { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';

// What the libraries do by themselves, as installed: see docs/library-canaries.md.

describe('cockatiel 4.0.0', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['Date'] });
  });

  afterEach(() => {
    vi.useRealTimers();
  });

  const fail = () => {
    throw new Error('broken');
  };
  const outcomeOf = (work: Promise<unknown>) => work.catch((error: Error) => error.message);

  it('lets callers behind a probe wait for it, aborted or not', async () => {
    const policy = circuitBreaker(handleAll, {
      halfOpenAfter: 1000,
      breaker: new ConsecutiveBreaker(1),
    });
    await outcomeOf(policy.execute(fail));
    vi.advanceTimersByTime(1000);
    const answer = Promise.withResolvers<void>();
    const probe = policy.execute(() => answer.promise);
    const controller = new AbortController();
    let isSettled = false;
    const waiting = outcomeOf(policy.execute(() => 'ran', controller.signal)).finally(() => {
      isSettled = true;
    });
    controller.abort();
    await new Promise(setImmediate);
    expect(isSettled).toBe(false);
    answer.resolve();
    await probe;
    // Version 4 does not run the aborted one any more.
    expect(await waiting).toBe('Operation cancelled');
  });

  it('runs work once more after an abort during the wait between tries', async () => {
    const controller = new AbortController();
    const policy = retry(handleAll, { maxAttempts: 3, backoff: new ConstantBackoff(1) });
    let runs = 0;
    // The policy says that it will try again before it waits: on a busy machine a timer comes late.
    policy.onRetry(() => controller.abort());
    const outcome = outcomeOf(
      policy.execute(() => {
        runs += 1;
        return fail();
      }, controller.signal),
    );
    expect(await outcome).toBe('broken');
    expect(runs).toBe(2);
  });

  it('counts failures of an hour ago in SamplingBreaker', async () => {
    const breaker = new SamplingBreaker({ threshold: 0.2, duration: 10_000, minimumRps: 0.5 });
    const policy = circuitBreaker(handleAll, { halfOpenAfter: 1000, breaker });
    for (let failures = 0; failures < 4; failures += 1) await outcomeOf(policy.execute(fail));
    expect(policy.state).toBe(CircuitState.Closed);
    vi.advanceTimersByTime(3_600_000);
    await outcomeOf(policy.execute(fail));
    expect(policy.state).toBe(CircuitState.Open);
  });

  it('stays open while the wall clock has stepped back', async () => {
    const policy = circuitBreaker(handleAll, {
      halfOpenAfter: 1000,
      breaker: new ConsecutiveBreaker(1),
    });
    await outcomeOf(policy.execute(fail));
    vi.setSystemTime(Date.now() - 60_000);
    vi.advanceTimersByTime(30_000);
    expect(await outcomeOf(policy.execute(() => 'ran'))).toContain('circuit breaker is open');
  });
});

const REDIS_SERVER = '/usr/bin/redis-server';

describe('ioredis 6.0.0', () => {
  it.skipIf(!existsSync(REDIS_SERVER))('reads integers near 2^53 wrong', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tw-redis-'));
    const path = join(folder, 'socket');
    const server = spawn(REDIS_SERVER, ['--port', '0', '--unixsocket', path, '--save', ''], {
      cwd: folder,
    });
    await expect.poll(() => existsSync(path)).toBe(true);
    const redis = new Redis({ path });
    await redis.set('seq', '9007199254740992');
    expect(await redis.incr('seq')).toBe(9_007_199_254_740_992);
    expect(await redis.get('seq')).toBe('9007199254740993');
    redis.disconnect();
    server.kill();
    await once(server, 'exit');
    await rm(folder, { recursive: true });
  });

  it('fails at once without a server, once told to', async () => {
    const path = join(tmpdir(), 'tw-nobody', 'socket');
    const redis = new Redis({ path, enableOfflineQueue: false, maxRetriesPerRequest: 0 });
    redis.on('error', () => undefined);
    await expect(redis.get('key')).rejects.toThrow('enableOfflineQueue options is false');
    redis.disconnect();
  });
});

describe('graphql-ws 6.4.2', () => {
  it('closes the whole socket for an error that onSubscribe throws', async () => {
    const http = createServer();
    const sockets = new WebSocketServer({ server: http });
    vi.spyOn(console, 'error').mockReturnValue();
    // As with the enveloped parse of yoga.
    const onSubscribe = (_context: unknown, _id: string, { query }: { query: string }) => {
      parse(query);
    };
    useServer({ onSubscribe }, sockets);
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
    // A TCP server has an address of this form.
    const { port } = http.address() as AddressInfo;
    const socket = new WebSocket(`ws://127.0.0.1:${port}`, 'graphql-transport-ws');
    await once(socket, 'open');
    socket.send('{"type":"connection_init"}');
    await once(socket, 'message');
    socket.send('{"id":"1","type":"subscribe","payload":{"query":"query {"}}');
    const [code] = await once(socket, 'close');
    expect(code).toBe(4500);
    vi.restoreAllMocks();
    sockets.close();
    http.close();
  });
});

describe('graphql 17.1.0', () => {
  it('is one module for import and require, under vitest too', () => {
    const required = createRequire(import.meta.url)('graphql') as { GraphQLError: unknown };
    expect(required.GraphQLError).toBe(GraphQLError);
  });
});
