import { describe, expect, it } from 'vitest';
import type { Position } from '../../../datasources/position.ts';
import { SNAPSHOT_ROWS_MAX } from '../../../subscriptions/snapshot.ts';
import { append, makeChange, run } from '../../support/log.ts';
import { brief, usePositionStreams } from '../../support/position-streams.ts';
import { closedOf, next } from '../../support/positions.ts';

const streams = usePositionStreams();

describe('a snapshot', () => {
  it('has the rows that match, then says that it is complete', async () => {
    const [one, two, three] = [streams.make(), streams.make(), streams.make()];
    await streams.open(one, two, three);
    await streams.update(one, closedOf(one));
    const events = streams.subscribe({ where: { status: ['OPEN'] }, snapshot: true });
    const [first, second, end] = await streams.takeMany(events, 3);
    expect(first).toMatchObject({ kind: 'SNAPSHOT', seq: '4', operation: null, actor: null });
    expect(second?.kind).toBe('SNAPSHOT');
    const ids = [first?.position?.id, second?.position?.id];
    expect(new Set(ids)).toEqual(new Set([two.id, three.id]));
    expect(end).toMatchObject({ kind: 'CAUGHT_UP', seq: '4' });
    await streams.update(two, closedOf(two));
    expect(brief(await streams.take(events))).toEqual({ kind: 'LEFT', seq: '5', previousSeq: '4' });
  });

  it('of which only a part was received cannot be resumed as if it were complete', async () => {
    await streams.open(streams.make(), streams.make());
    const first = await streams.take(streams.subscribe({ snapshot: true }));
    const again = await streams.takeMany(
      streams.subscribe({ after: first.cursor, snapshot: true }),
      4,
    );
    expect(again.map(({ kind }) => kind)).toEqual(['RESET', 'SNAPSHOT', 'SNAPSHOT', 'CAUGHT_UP']);
  });

  it('is not sent when the cursor can be resumed', async () => {
    await streams.open(streams.make());
    const [, end] = await streams.takeMany(streams.subscribe({ snapshot: true }), 2);
    await streams.open(streams.make());
    const again = await streams.takeMany(
      streams.subscribe({ after: end?.cursor ?? '', snapshot: true }),
      2,
    );
    expect(again.map(({ kind }) => kind)).toEqual(['CHANGE', 'CAUGHT_UP']);
  });

  it('of too many rows is refused, at the bound it is not', async () => {
    await insertMany(SNAPSHOT_ROWS_MAX);
    const events = await streams.takeMany(
      streams.subscribe({ snapshot: true }),
      SNAPSHOT_ROWS_MAX + 1,
    );
    expect(events.at(-1)?.kind).toBe('CAUGHT_UP');
    expect(new Set(events.map(({ position }) => position?.id)).size).toBe(SNAPSHOT_ROWS_MAX + 1);
    await insertMany(1);
    await expect(streams.take(streams.subscribe({ snapshot: true }))).rejects.toMatchObject({
      code: 'QUERY_TOO_EXPENSIVE',
    });
  });
});

/** Closed positions that the log knows nothing of. */
async function insertMany(count: number): Promise<void> {
  await run(
    streams.database,
    (sql) => sql`
      insert into positions (account_id, id, exchange, symbol, side, status, quantity, entry_price,
        opened_at, updated_at, closed_at)
      select ${streams.accountId}, gen_random_uuid(), 'bybit', 'BTCUSDT', 'LONG', 'CLOSED', 0, 1,
        now(), now(), now()
      from generate_series(1, ${count})`,
  );
}

describe('a cursor', () => {
  it('resumes after any seq, with what came since and CAUGHT_UP once', async () => {
    let position: Position = streams.make();
    await streams.open(position);
    for (let count = 2; count <= 20; count += 1) {
      if (count % 3 === 0)
        await append(streams.database, makeChange({ accountId: streams.accountId }));
      else position = await streams.update(position, next(position));
    }
    const { cursor } = await streams.take(streams.subscribe());
    const [epoch] = cursor.split('.');
    for (let after = 0; after <= 20; after += 1) {
      const concerned = Array.from({ length: 20 }, (_seq, index) => index + 1).filter(
        (seq) => seq > after && (seq === 1 || seq % 3 !== 0),
      );
      const stream = streams.subscribe({ after: `${epoch}.${after}` });
      const events = await streams.takeMany(stream, concerned.length + 1);
      expect(events.map(({ kind }) => kind).lastIndexOf('CAUGHT_UP')).toBe(concerned.length);
      expect(events.map(({ seq }) => Number(seq))).toEqual([...concerned, 20]);
      expect(events.map(({ previousSeq }) => Number(previousSeq))).toEqual([after, ...concerned]);
      await stream.return();
    }
  });

  it('of another history, or ahead of this one, is answered with RESET and the head', async () => {
    const position = streams.make();
    await streams.open(position);
    const { cursor } = await streams.take(streams.subscribe());
    const [epoch, , hash] = cursor.split('.');
    for (const after of ['ffffffff.1', `${epoch}.2`, `${epoch}.2.${hash}`]) {
      const events = streams.subscribe({ after });
      expect(await streams.take(events)).toMatchObject({ kind: 'RESET', cursor, seq: '1' });
      expect(await streams.take(events)).toMatchObject({ kind: 'CAUGHT_UP', cursor });
      await events.return();
    }
  });

  it('of a history that was taken up again from a copy is answered with RESET', async () => {
    await streams.open(streams.make());
    const headCursor = async () => {
      const stream = streams.subscribe();
      const { cursor } = await streams.take(stream);
      // Nobody follows the log any more, as in a process that starts.
      await stream.return();
      return cursor;
    };
    const first = await headCursor();
    await streams.open(streams.make());
    const lost = await headCursor();
    // The copy was made after the first change; another second one follows it.
    await run(
      streams.database,
      (sql) => sql`
        with gone as (delete from changes where account_id = ${streams.accountId} and seq = 2)
        update account_heads h set seq = 1, hash = c.hash from changes c
        where h.account_id = ${streams.accountId} and c.account_id = h.account_id and c.seq = 1`,
    );
    await streams.open(streams.make());
    await streams.open(streams.make());
    const events = streams.subscribe({ after: lost });
    expect(await streams.take(events)).toMatchObject({ kind: 'RESET', seq: '3' });
    const kept = await streams.takeMany(streams.subscribe({ after: first }), 3);
    expect(kept.map(({ kind }) => kind)).toEqual(['CHANGE', 'CHANGE', 'CAUGHT_UP']);
  });

  it('that is older than what is kept is answered with RESET and a snapshot', async () => {
    const position = streams.make();
    await streams.open(position);
    await streams.update(position, next(position));
    await streams.open(streams.make());
    const { cursor } = await streams.take(streams.subscribe());
    const [epoch] = cursor.split('.');
    await run(
      streams.database,
      (sql) => sql`delete from changes where account_id = ${streams.accountId} and seq <= 2`,
    );
    const lost = await streams.takeMany(
      streams.subscribe({ after: `${epoch}.1`, snapshot: true }),
      4,
    );
    expect(lost.map(({ kind }) => kind)).toEqual(['RESET', 'SNAPSHOT', 'SNAPSHOT', 'CAUGHT_UP']);
    const kept = await streams.takeMany(
      streams.subscribe({ after: `${epoch}.2`, snapshot: true }),
      2,
    );
    expect(kept.map(({ kind }) => kind)).toEqual(['CHANGE', 'CAUGHT_UP']);
  });

  it.each([
    '',
    'x',
    '1',
    'ffffffff.',
    'ffffffff.-1',
    'FFFFFFFF.1',
    'ffffffff.1.1',
    'ffffffff.1.0123456g',
  ])('that is none is refused: %j', (after) => {
    expect(() => streams.subscribe({ after })).toThrow(
      expect.objectContaining({ code: 'BAD_INPUT', inputPath: ['after'] }),
    );
  });
});
