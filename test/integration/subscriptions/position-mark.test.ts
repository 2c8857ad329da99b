import { beforeEach, describe, expect, it } from 'vitest';
import { uuidOf } from '../../../datasources/id.ts';
import { CLOSED_SINCE_MAX } from '../../../datasources/mark.ts';
import type { Position } from '../../../datasources/position.ts';
import type { PositionEvent } from '../../../subscriptions/position.ts';
import { append, commit, makeChange } from '../../support/log.ts';
import { brief, usePositionStreams } from '../../support/position-streams.ts';
import { closedOf, next } from '../../support/positions.ts';

const streams = usePositionStreams();
const BTC = 'BTCUSDT';
const ETH = 'ETHUSDT';

let long: Position;
let short: Position;
let eth: Position;

beforeEach(async () => {
  // In the order of their ids.
  const [one, two, three] = [1, 2, 3].map((place) => uuidOf(place));
  long = streams.make({ symbol: BTC, id: one ?? '' });
  short = streams.make({ symbol: BTC, side: 'SHORT', id: two ?? '' });
  eth = streams.make({ symbol: ETH, id: three ?? '' });
  await streams.open(long, short, eth);
});

/** What an event says, without its cursor. */
function told({ kind, seq, operation, position }: PositionEvent) {
  const markPrice = position !== null && 'markPrice' in position ? position.markPrice : undefined;
  return { kind, seq, operation, id: position?.id, version: position?.version, markPrice };
}

function markOf({ id, version }: Position, seq: string, markPrice: string) {
  return { kind: 'CHANGE', seq, operation: 'MARK', id, version, markPrice };
}

describe('a change of marks', () => {
  it('is an event of each open position of its instruments, at that mark', async () => {
    const events = streams.subscribe();
    const { cursor } = await streams.take(events);
    await streams.mark({ [BTC]: '101', [ETH]: '11', XRPUSDT: '1' });
    const marked = await streams.takeMany(events, 3);
    expect(marked.map(told)).toEqual([
      markOf(long, '4', '101'),
      markOf(short, '4', '101'),
      markOf(eth, '4', '11'),
    ]);
    expect(marked.map(({ previousSeq }) => previousSeq)).toEqual(['3', '3', '3']);
    expect(marked[0]).toMatchObject({ before: null, fromSeq: null, actor: 'key:test' });
    // Of one change only the last event says that all of it was told.
    expect(marked.map((event) => event.cursor === cursor)).toEqual([true, true, false]);
    expect(marked[2]?.cursor.split('.')[1]).toBe('4');
  });

  it('of which only a part was received is told again, whole', async () => {
    const events = streams.subscribe();
    await streams.take(events);
    await append(streams.database, makeChange({ accountId: streams.accountId }));
    await streams.mark({ [BTC]: '101' });
    const [first] = await streams.takeMany(events, 1);
    const again = await streams.takeMany(streams.subscribe({ after: first?.cursor ?? '' }), 3);
    expect(again.map(told)).toEqual([
      markOf(long, '5', '101'),
      markOf(short, '5', '101'),
      expect.objectContaining({ kind: 'CAUGHT_UP', seq: '5' }),
    ]);
    expect(again[0]?.previousSeq).toBe('4');
    const after = again[1]?.cursor ?? '';
    expect(brief(await streams.take(streams.subscribe({ after })))).toEqual({
      kind: 'CAUGHT_UP',
      seq: '5',
      previousSeq: '5',
    });
  });

  it('is left out when marks are', async () => {
    const events = streams.subscribe({ marks: false });
    await streams.take(events);
    await streams.mark({ [BTC]: '101' });
    await streams.update(long, next(long));
    expect(brief(await streams.take(events))).toEqual({
      kind: 'CHANGE',
      seq: '5',
      previousSeq: '3',
    });
  });

  it('shows each position as it was then, not as it is', async () => {
    const events = streams.subscribe();
    await streams.take(events);
    await streams.mark({ [BTC]: '101' });
    const later = await streams.update(long, next(long, { quantity: '2' }));
    await streams.update(later, next(later, { quantity: '3' }));
    const all = await streams.takeMany(events, 4);
    expect(all.map(told)).toEqual([
      markOf(long, '4', '101'),
      markOf(short, '4', '101'),
      expect.objectContaining({ operation: 'UPDATE', version: 2, seq: '5' }),
      expect.objectContaining({ operation: 'UPDATE', version: 3, seq: '6' }),
    ]);
    expect(all[0]?.position).toEqual({ ...long, markPrice: '101' });
    expect(all[1]?.position).toEqual({ ...short, markPrice: '101' });
  });

  it('is told of a position that was closed since, and not of one opened since', async () => {
    const events = streams.subscribe();
    await streams.take(events);
    await streams.mark({ [BTC]: '101' });
    await streams.update(long, closedOf(long));
    const opened = streams.make({ symbol: BTC });
    await streams.open(opened);
    const all = await streams.takeMany(events, 4);
    expect(all.map(told)).toEqual([
      markOf(long, '4', '101'),
      markOf(short, '4', '101'),
      expect.objectContaining({ operation: 'UPDATE', id: long.id, version: 2 }),
      expect.objectContaining({ operation: 'INSERT', id: opened.id }),
    ]);
    expect(all[0]?.position?.status).toBe('OPEN');
  });

  it.each([
    [CLOSED_SINCE_MAX, true],
    [CLOSED_SINCE_MAX + 1, false],
  ])('is told of a position that was closed %d changes later: %s', async (distance, isTold) => {
    const { cursor } = await streams.take(streams.subscribe());
    await streams.mark({ [BTC]: '101' });
    await commit(streams.database, async (datasources, recorder) => {
      const other = makeChange({ accountId: streams.accountId });
      for (let count = 1; count < distance; count += 1) recorder.record(other);
      const update = { before: long, next: closedOf(long) };
      await datasources.positions.updateMany(streams.accountId, [update]);
    });
    const events = streams.subscribe({ after: cursor });
    const marked = isTold ? [long, short] : [short];
    const all = await streams.takeMany(events, marked.length + 2);
    expect(all.map(told)).toEqual([
      ...marked.map((position) => markOf(position, '4', '101')),
      expect.objectContaining({ operation: 'UPDATE', id: long.id, seq: `${4 + distance}` }),
      expect.objectContaining({ kind: 'CAUGHT_UP' }),
    ]);
  });

  it('is told of what matches the filter, and chains so', async () => {
    const bySymbol = streams.subscribe({ where: { symbols: [ETH] } });
    const bySide = streams.subscribe({ where: { side: 'SHORT' } });
    const byStatus = streams.subscribe({ where: { status: ['CLOSED', 'LIQUIDATED'] } });
    for (const stream of [bySymbol, bySide, byStatus]) await streams.take(stream);
    await streams.mark({ [BTC]: '101' });
    expect(told(await streams.take(bySide))).toEqual(markOf(short, '4', '101'));
    await streams.mark({ [BTC]: '102', [ETH]: '12' });
    const ofEth = await streams.take(bySymbol);
    expect(told(ofEth)).toEqual(markOf(eth, '5', '12'));
    expect(ofEth.previousSeq).toBe('3');
    // Alone in its change as far as this stream goes.
    expect(ofEth.cursor.split('.')[1]).toBe('5');
    const ofShort = await streams.take(bySide);
    expect([told(ofShort), ofShort.previousSeq]).toEqual([markOf(short, '5', '102'), '4']);
    await streams.update(short, closedOf(short));
    expect(brief(await streams.take(byStatus))).toEqual({
      kind: 'CHANGE',
      seq: '6',
      previousSeq: '3',
    });
    expect(brief(await streams.take(bySide))).toEqual({
      kind: 'CHANGE',
      seq: '6',
      previousSeq: '5',
    });
    await streams.mark({ [BTC]: '103' });
    expect(brief(await streams.take(bySide))).toEqual({
      kind: 'HEARTBEAT',
      seq: '7',
      previousSeq: '6',
    });
  });
});

describe('a reader that is behind', () => {
  it('is told of the newest mark of each instrument alone', async () => {
    const events = streams.subscribe();
    const { cursor } = await streams.take(events);
    await streams.mark({ [BTC]: '101', [ETH]: '11' });
    await streams.mark({ [BTC]: '102' });
    await streams.update(long, next(long));
    await streams.mark({ [BTC]: '103' });
    const expected = [
      markOf(eth, '4', '11'),
      expect.objectContaining({ operation: 'UPDATE', id: long.id, seq: '6' }),
      markOf(next(long), '7', '103'),
      markOf(short, '7', '103'),
    ];
    const live = await streams.takeMany(events, 4);
    expect(live.map(told)).toEqual(expected);
    expect(live.map(({ previousSeq }) => previousSeq)).toEqual(['3', '4', '6', '6']);
    const resumed = await streams.takeMany(streams.subscribe({ after: cursor }), 4);
    expect(resumed.map(told)).toEqual(expected);
  });

  it('by more than is in memory is told of no mark that has a newer one there', async () => {
    const { cursor } = await streams.take(streams.subscribe());
    await streams.mark({ [BTC]: '101', [ETH]: '11' });
    await streams.mark({ [ETH]: '12' });
    const other = makeChange({ accountId: streams.accountId });
    await append(streams.database, ...Array.from({ length: 600 }, () => other));
    await streams.mark({ [BTC]: '102' });
    // By its heartbeat the end of the log is in memory, not what is before.
    const watcher = streams.subscribe({ where: { symbols: ['NONE'] } });
    await streams.takeMany(watcher, 2);
    const all = await streams.takeMany(streams.subscribe({ after: cursor }), 4);
    expect(all.map(told)).toEqual([
      markOf(eth, '5', '12'),
      markOf(long, '606', '102'),
      markOf(short, '606', '102'),
      expect.objectContaining({ kind: 'CAUGHT_UP' }),
    ]);
  });
});

describe('a minimal interval', () => {
  it('lets no mark hide a change of the row', async () => {
    const events = streams.subscribe({ minIntervalMs: 1000, where: { symbols: [BTC] } });
    await streams.take(events);
    await streams.mark({ [BTC]: '100.5' });
    await streams.takeMany(events, 2);
    const changed = await streams.update(long, next(long, { quantity: '2' }));
    await streams.mark({ [BTC]: '101' });
    await streams.mark({ [BTC]: '102' });
    const round = await streams.takeMany(events, 2);
    expect(round.map(told)).toEqual([
      { ...markOf(changed, '7', '102'), operation: 'UPDATE' },
      markOf(short, '7', '102'),
    ]);
    expect(round[0]).toMatchObject({ fromSeq: '5', before: { quantity: '1' }, previousSeq: '4' });
    expect(round[1]?.previousSeq).toBe('4');
    expect(round.map(({ cursor }) => cursor.split('.')[1])).toEqual(['6', '7']);
  });

  it('tells of a change after a mark what it was before', async () => {
    const events = streams.subscribe({ minIntervalMs: 1000, where: { side: 'SHORT' } });
    await streams.take(events);
    await streams.mark({ [BTC]: '101' });
    await streams.take(events);
    await streams.mark({ [BTC]: '102' });
    await streams.update(short, next(short, { quantity: '2' }));
    const event = await streams.take(events);
    expect(told(event)).toMatchObject({ operation: 'UPDATE', seq: '6', version: 2 });
    expect(event).toMatchObject({ before: { quantity: '1' }, previousSeq: '4' });
  });

  it('tells of a new position that it is new, whatever marks follow', async () => {
    const events = streams.subscribe({ minIntervalMs: 1000 });
    await streams.take(events);
    await streams.open(streams.make());
    await streams.take(events);
    const opened = streams.make({ symbol: 'XRPUSDT' });
    await streams.open(opened);
    await streams.mark({ XRPUSDT: '2' });
    const event = await streams.take(events);
    expect(told(event)).toEqual({ ...markOf(opened, '6', '2'), operation: 'INSERT' });
    expect(event).toMatchObject({ before: null, fromSeq: '5' });
  });

  it('resumes amid a round without a loss', async () => {
    const events = streams.subscribe({ minIntervalMs: 1000 });
    await streams.take(events);
    await streams.mark({ [BTC]: '101', [ETH]: '11' });
    await streams.takeMany(events, 3);
    const changed = await streams.update(eth, next(eth));
    await streams.mark({ [BTC]: '102' });
    const [first, second] = await streams.takeMany(events, 2);
    expect([first, second].map((event) => event && told(event))).toEqual([
      expect.objectContaining({ id: changed.id, operation: 'UPDATE' }),
      markOf(long, '6', '102'),
    ]);
    const rest = await streams.takeMany(streams.subscribe({ after: second?.cursor ?? '' }), 3);
    expect(rest.map(told)).toEqual([
      markOf(long, '6', '102'),
      markOf(short, '6', '102'),
      expect.objectContaining({ kind: 'CAUGHT_UP' }),
    ]);
  });
});

it('has in a snapshot the marks of its moment', async () => {
  await streams.mark({ [BTC]: '101' });
  const events = streams.subscribe({ snapshot: true });
  const first = await streams.take(events);
  await streams.mark({ [BTC]: '102' });
  const rows = [first, ...(await streams.takeMany(events, 2))];
  expect(rows.map((event) => told(event).markPrice)).toEqual(['101', '101', null]);
  const marked = await streams.takeMany(events, 3);
  expect(marked.map(told)).toEqual([
    expect.objectContaining({ kind: 'CAUGHT_UP', seq: '4' }),
    markOf(long, '5', '102'),
    markOf(short, '5', '102'),
  ]);
});
