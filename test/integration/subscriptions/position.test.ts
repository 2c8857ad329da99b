import { describe, expect, it } from 'vitest';
import { encodeId } from '../../../datasources/id.ts';
import { matchesPosition, type Position } from '../../../datasources/position.ts';
import { MIN_INTERVAL_MS_MAX } from '../../../subscriptions/position.ts';
import { ACTOR } from '../../support/feed.ts';
import { append, makeChange } from '../../support/log.ts';
import { brief, usePositionStreams } from '../../support/position-streams.ts';
import { closedOf, next } from '../../support/positions.ts';

const streams = usePositionStreams();

describe('a stream without a cursor', () => {
  it('begins at the head and sends each change as it was committed', async () => {
    const position = streams.make();
    await streams.open(position);
    const events = streams.subscribe();
    const begun = await streams.take(events);
    expect(begun).toMatchObject({ kind: 'CAUGHT_UP', seq: '1', position: null, operation: null });
    await streams.update(position, next(position, { quantity: '2.5' }));
    const event = await streams.take(events);
    expect(event).toEqual({
      kind: 'CHANGE',
      cursor: expect.stringMatching(
        new RegExp(`^${begun.cursor.split('.')[0]}\\.2\\.[0-9a-f]{8}$`),
      ),
      seq: '2',
      previousSeq: '1',
      at: expect.stringMatching(/Z$/),
      operation: 'UPDATE',
      position: expect.objectContaining({ id: position.id, quantity: '2.5', version: 2 }),
      before: position,
      fromSeq: null,
      actor: 'key:test',
    });
  });

  it('leaves out what concerns no position', async () => {
    const events = streams.subscribe();
    await streams.take(events);
    await append(streams.database, makeChange({ accountId: streams.accountId }));
    await streams.open(streams.make());
    expect(brief(await streams.take(events))).toEqual({
      kind: 'CHANGE',
      seq: '2',
      previousSeq: '0',
    });
  });
});

describe('a filter', () => {
  it('lets through what matches before or after, and says when a row has left', async () => {
    const events = streams.subscribe({ where: { status: ['OPEN'], symbols: ['BTCUSDT'] } });
    await streams.take(events);
    const btc = streams.make({ symbol: 'BTCUSDT' });
    const eth = streams.make({ symbol: 'ETHUSDT' });
    await streams.open(btc, eth);
    const moved = await streams.update(btc, next(btc, { stopLossPrice: '90' }));
    await streams.update(eth, closedOf(eth));
    await streams.update(moved, closedOf(moved));
    const [inserted, changed, left] = await streams.takeMany(events, 3);
    expect(inserted).toMatchObject({ kind: 'CHANGE', operation: 'INSERT', before: null });
    expect(changed).toMatchObject({ kind: 'CHANGE', position: { stopLossPrice: '90' } });
    expect(left).toMatchObject({
      kind: 'LEFT',
      position: { id: btc.id, status: 'CLOSED' },
      before: { status: 'OPEN' },
    });
    expect([inserted, changed, left].map((event) => event?.previousSeq)).toEqual(['0', '1', '3']);
  });

  it('of ids takes global ids, and refuses those of others at once', async () => {
    const [one, two] = [streams.make(), streams.make()];
    const events = streams.subscribe({
      where: { ids: [encodeId('position', streams.accountId, two.id)] },
    });
    await streams.take(events);
    await streams.open(one);
    await streams.open(two);
    expect(await streams.take(events)).toMatchObject({ position: { id: two.id } });
    const ids = [encodeId('position', 'main', one.id)];
    expect(() => streams.subscribe({ where: { ids } })).toThrow(
      expect.objectContaining({ code: 'BAD_INPUT', inputPath: ['where', 'ids', '0'] }),
    );
  });
});

describe('what a subscription may', () => {
  it('is refused at once without the permission or the account', () => {
    const actor = { ...ACTOR, permissions: new Set<never>() };
    expect(() => streams.subscribe({}, streams.makeContext({ actor }))).toThrow(
      expect.objectContaining({ code: 'FORBIDDEN' }),
    );
    const stranger = { ...ACTOR, accounts: ['main'] };
    expect(() => streams.subscribe({}, streams.makeContext({ actor: stranger }))).toThrow(
      expect.objectContaining({ code: 'FORBIDDEN' }),
    );
  });

  it('ends with NOT_FOUND when there is no such account', async () => {
    await expect(streams.take(streams.subscribe({ account: 'nobody' }))).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    await expect(
      streams.take(streams.subscribe({ account: 'nobody', snapshot: true })),
    ).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
  });

  it('holds an interval within its bounds', () => {
    expect(() => streams.subscribe({ minIntervalMs: MIN_INTERVAL_MS_MAX })).not.toThrow();
    for (const minIntervalMs of [-1, MIN_INTERVAL_MS_MAX + 1]) {
      expect(() => streams.subscribe({ minIntervalMs })).toThrow(
        expect.objectContaining({ code: 'BAD_INPUT', inputPath: ['minIntervalMs'] }),
      );
    }
  });
});

describe('a minimal interval', () => {
  it('keeps the newest of each position, from what it was before', async () => {
    const events = streams.subscribe({ minIntervalMs: 1000 });
    await streams.take(events);
    const [one, two] = [streams.make(), streams.make()];
    await streams.open(one);
    expect(await streams.take(events)).toMatchObject({ seq: '1', fromSeq: '1', previousSeq: '0' });
    const changed = await streams.update(one, next(one, { quantity: '2' }));
    await streams.open(two);
    await streams.update(changed, next(changed, { quantity: '3' }));
    const beginMs = streams.clock.nowMs();
    const [ofTwo, ofOne] = await streams.takeMany(events, 2);
    expect(streams.clock.nowMs() - beginMs).toBeGreaterThanOrEqual(900);
    expect(ofTwo).toMatchObject({ seq: '3', fromSeq: '3', previousSeq: '1', operation: 'INSERT' });
    expect(ofOne).toMatchObject({
      seq: '4',
      fromSeq: '2',
      previousSeq: '3',
      operation: 'UPDATE',
      before: { quantity: '1' },
      position: { quantity: '3', version: 3 },
    });
  });

  it('brings a reader that is behind to the newest at once', async () => {
    const { cursor } = await streams.take(streams.subscribe());
    let position: Position = streams.make();
    await streams.open(position);
    for (let count = 0; count < 30; count += 1)
      position = await streams.update(position, next(position));
    const events = await streams.takeMany(
      streams.subscribe({ after: cursor, minIntervalMs: 1000 }),
      2,
    );
    expect(events.map(({ kind, seq, fromSeq }) => ({ kind, seq, fromSeq }))).toEqual([
      { kind: 'CHANGE', seq: '31', fromSeq: '1' },
      { kind: 'CAUGHT_UP', seq: '31', fromSeq: null },
    ]);
    expect(events[0]).toMatchObject({ operation: 'INSERT', before: null, previousSeq: '0' });
  });
});

it('matches in memory what the database matches', async () => {
  const rows = [
    streams.make({ strategy: 'a' }),
    streams.make({ side: 'SHORT' }),
    streams.make({ exchange: 'okx' }),
  ];
  await streams.open(...rows);
  const stored = await streams.context.datasources.positions.findByIds(
    streams.accountId,
    rows.map(({ id }) => id),
  );
  const wheres = [{ strategy: 'a' }, { side: 'SHORT' as const }, { exchange: 'okx' }, {}];
  for (const where of wheres) {
    const cut = { after: null, before: null, isDescending: false, limit: 10 };
    const listed = await streams.context.datasources.positions.list(streams.accountId, where, cut);
    const matched = stored.filter((row) => row !== null && matchesPosition(where, row));
    expect(new Set(matched)).toEqual(new Set(listed));
  }
});
