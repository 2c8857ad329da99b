import { getEventListeners } from 'node:events';
import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { MIN_INTERVAL_MS_MAX } from '../../../subscriptions/position.ts';
import { makeCall } from '../../support/call.ts';
import { append, commit, makeChange, run } from '../../support/log.ts';
import { brief, HEARTBEAT_MS, usePositionStreams } from '../../support/position-streams.ts';
import { next } from '../../support/positions.ts';

const streams = usePositionStreams();

describe('a live stream', () => {
  it('is reset when the database was restored, and goes on', async () => {
    const position = streams.make();
    await streams.open(position);
    const events = streams.subscribe({ snapshot: true });
    await streams.takeMany(events, 2);
    await run(
      streams.database,
      (sql) =>
        sql`update account_heads set epoch = 'ffffffff' where account_id = ${streams.accountId}`,
    );
    const again = await streams.takeMany(events, 3);
    expect(again.map(({ kind }) => kind)).toEqual(['RESET', 'SNAPSHOT', 'CAUGHT_UP']);
    expect(again.at(-1)?.cursor).toMatch(/^ffffffff\.1\.[0-9a-f]{8}$/);
    await streams.update(position, next(position));
    expect(await streams.take(events)).toMatchObject({
      kind: 'CHANGE',
      cursor: expect.stringMatching(/^ffffffff\.2\.[0-9a-f]{8}$/),
    });
  });

  it('whose reader was so slow that changes are gone is reset', async () => {
    const events = streams.subscribe();
    await streams.take(events);
    for (let count = 0; count < 20; count += 1) await streams.open(streams.make());
    await run(
      streams.database,
      (sql) => sql`delete from changes where account_id = ${streams.accountId} and seq <= 15`,
    );
    streams.feed.wake(streams.accountId, '20');
    expect(await streams.take(events)).toMatchObject({ kind: 'RESET', seq: '20' });
  });

  it('sends a heartbeat with its seq after each silent interval', async () => {
    await streams.open(streams.make());
    const events = streams.subscribe();
    await streams.take(events);
    await append(streams.database, makeChange({ accountId: streams.accountId }));
    const beginMs = streams.clock.nowMs();
    expect(brief(await streams.take(events))).toEqual({
      kind: 'HEARTBEAT',
      seq: '2',
      previousSeq: '1',
    });
    expect(streams.clock.nowMs() - beginMs).toBeGreaterThanOrEqual(HEARTBEAT_MS);
    expect(streams.clock.nowMs() - beginMs).toBeLessThan(HEARTBEAT_MS + 1000);
    await streams.open(streams.make());
    expect(brief(await streams.take(events))).toEqual({
      kind: 'CHANGE',
      seq: '3',
      previousSeq: '1',
    });
    expect((await streams.take(events)).kind).toBe('HEARTBEAT');
  });

  it('sends heartbeats while it holds events back, from where it can be resumed', async () => {
    const events = streams.subscribe({ minIntervalMs: MIN_INTERVAL_MS_MAX });
    await streams.take(events);
    const position = streams.make();
    await streams.open(position);
    expect(brief(await streams.take(events))).toMatchObject({ kind: 'CHANGE', seq: '1' });
    await append(streams.database, makeChange({ accountId: streams.accountId }));
    await streams.update(position, next(position, { quantity: '2' }));
    const beats = await streams.takeMany(events, 5);
    expect(beats.map(brief)).toEqual(
      beats.map(() => ({
        kind: 'HEARTBEAT',
        seq: expect.stringMatching(/^[12]$/),
        previousSeq: '1',
      })),
    );
    const resumed = streams.subscribe({ after: beats.at(-1)?.cursor ?? '' });
    expect(await streams.take(resumed)).toMatchObject({ kind: 'CHANGE', seq: '3' });
    expect(await streams.take(events)).toMatchObject({ kind: 'CHANGE', seq: '3', fromSeq: '3' });
  });

  it('is silent while the database is away, and misses nothing', async () => {
    const events = streams.subscribe();
    await streams.take(events);
    await run(streams.database, (sql) => sql`alter table account_heads rename to heads_gone`);
    const pending = events.next();
    await streams.clock.pass(5 * HEARTBEAT_MS);
    await run(streams.database, (sql) => sql`alter table heads_gone rename to account_heads`);
    await streams.open(streams.make());
    const result = await streams.clock.passUntil(pending);
    expect(result.value).toMatchObject({ kind: 'CHANGE', seq: '1', previousSeq: '0' });
  });

  it('ends with UNAUTHENTICATED by its next heartbeat once its key has ended', async () => {
    let isCurrent = true;
    const events = streams.subscribe({}, streams.makeContext({ isCurrent: () => isCurrent }));
    await streams.take(events);
    isCurrent = false;
    await expect(streams.take(events)).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
    expect(streams.feed.figures().subscriptions).toBe(0);
  });

  it('ends within 10 s of its key, however seldom its heart beats', async () => {
    let isCurrent = true;
    const seldom = { heartbeatMs: 600_000, isCurrent: () => isCurrent };
    const events = streams.subscribe({}, streams.makeContext(seldom));
    await streams.take(events);
    const pending = events.next();
    pending.catch(() => {});
    await setImmediate();
    isCurrent = false;
    const beginMs = streams.clock.nowMs();
    await expect(streams.clock.passUntil(pending)).rejects.toMatchObject({
      code: 'UNAUTHENTICATED',
    });
    expect(streams.clock.nowMs() - beginMs).toBeLessThan(10_000 + 1000);
  });

  it('sends nothing more to a key that has ended, though it is behind', async () => {
    let isCurrent = true;
    const events = streams.subscribe({}, streams.makeContext({ isCurrent: () => isCurrent }));
    await streams.take(events);
    await streams.open(streams.make(), streams.make());
    expect((await streams.take(events)).kind).toBe('CHANGE');
    isCurrent = false;
    await expect(streams.take(events)).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
  });
});

describe('a client that leaves', () => {
  it('frees its watch, its timers and its listeners, whatever it waits for', async () => {
    const client = new AbortController();
    const call = makeCall({ signal: client.signal });
    const events = streams.subscribe({}, streams.makeContext({ call }));
    await streams.take(events);
    const pending = events.next();
    await setImmediate();
    expect(streams.feed.figures().subscriptions).toBe(1);
    await events.return();
    expect(await pending).toEqual({ done: true, value: undefined });
    expect(streams.feed.figures()).toMatchObject({ subscriptions: 0, accounts: 0 });
    expect(getEventListeners(client.signal, 'abort')).toEqual([]);
    await until(() => streams.clock.timers === 0);
  });

  it('while a snapshot is read does not wait for the database', async () => {
    const blocker = await block();
    const events = streams.subscribe({ snapshot: true });
    const pending = events.next();
    await until(() => streams.database.interactive.figures().busy > 0);
    await events.return();
    expect(await pending).toEqual({ done: true, value: undefined });
    expect(streams.feed.figures().subscriptions).toBe(0);
    await blocker.release();
    await until(() => streams.database.interactive.figures().busy === 0);
  });

  it('by the signal of its operation ends the stream', async () => {
    const client = new AbortController();
    const call = makeCall({ signal: client.signal });
    const events = streams.subscribe({}, streams.makeContext({ call }));
    await streams.take(events);
    const pending = events.next();
    client.abort();
    expect(await pending).toEqual({ done: true, value: undefined });
    expect(streams.feed.figures().subscriptions).toBe(0);
  });
});

/** Keeps readers of positions waiting until it is released. */
async function block(): Promise<{ release(): Promise<void> }> {
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  let locked = () => {};
  const isLocked = new Promise<void>((resolve) => {
    locked = resolve;
  });
  const ended = commit(streams.database, async (_datasources, _recorder, sql) => {
    await sql`lock table positions in access exclusive mode`;
    locked();
    await released;
  });
  await isLocked;
  return {
    async release() {
      release();
      await ended;
    },
  };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await setImmediate();
}
