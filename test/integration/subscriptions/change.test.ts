import { describe, expect, it } from 'vitest';
import type { Change } from '../../../datasources/change.ts';
import { predict } from '../../support/documents.ts';
import { CHANGES, ORDERS, PREDICTIONS, TRADES, useLive } from '../../support/live.ts';
import { many, predictionItem } from '../../support/make.ts';
import { fillItem, orderItem, place, placeOne, recordOne } from '../../support/trading.ts';

const live = useLive();

describe('changes', () => {
  it('sends the log itself, with the ids that other fields accept', async () => {
    const [stream, begun] = await live.begin(CHANGES);
    const { id } = await placeOne(live.server, {}, { account: live.account });
    await predict(live.server, [predictionItem(), predictionItem()], { account: live.account });
    const [first, second] = await stream.take(2);
    expect(first).toMatchObject({
      previousSeq: '0',
      change: { seq: '1', entity: 'order', operation: 'INSERT', ids: [id], count: 1, before: null },
    });
    expect(second).toMatchObject({
      previousSeq: '1',
      change: { entity: 'prediction', count: 2, after: null },
    });
    const { changes } = await live.server.data<{ changes: { nodes: Change[]; pageInfo: object } }>(
      `query ($account: ID, $after: String) { changes(account: $account, after: $after) {
        nodes { seq entity operation ids count before after actor hash }
        pageInfo { endCursor } } }`,
      { account: live.account, after: begun.cursor },
    );
    expect(changes.nodes).toEqual([first?.change, second?.change]);
    // A cursor of one is a cursor of the other.
    expect(changes.pageInfo).toEqual({ endCursor: second?.cursor });
  });

  it('filters as the page does', async () => {
    const [, begun] = await live.begin(CHANGES);
    const { id, clientOrderId } = await placeOne(live.server, {}, { account: live.account });
    const { trade } = await recordOne(live.server, fillItem(clientOrderId), {
      account: live.account,
    });
    const { results } = await predict(live.server, [predictionItem(), predictionItem()], {
      account: live.account,
    });
    const wheres = [
      {},
      { entities: ['order', 'trade'] },
      { ids: [id] },
      { ids: [id, trade?.id] },
      { ids: [results[1]?.id] },
      { ids: [results[1]?.id, id] },
      { operations: ['UPDATE'] },
      { actor: 'nobody' },
      { at: { from: '2020-01-01T00:00:00Z', to: '2020-01-02T00:00:00Z' } },
      { at: { from: '2020-01-01T00:00:00Z' } },
    ];
    for (const where of wheres) {
      const { changes } = await live.server.data<{ changes: { nodes: { seq: string }[] } }>(
        `query ($account: ID, $where: ChangeWhere) {
          changes(account: $account, where: $where) { nodes { seq } } }`,
        { account: live.account, where },
      );
      const stream = await live.open(CHANGES, { where, after: begun.cursor });
      const seqs: string[] = [];
      for (let event = await stream.next(); event.kind === 'CHANGE'; event = await stream.next()) {
        expect(event.previousSeq).toBe(seqs.at(-1) ?? '0');
        seqs.push(event.seq);
      }
      expect([where, seqs]).toEqual([where, changes.nodes.map(({ seq }) => seq)]);
      stream.close();
    }
  });
});

describe('each of them', () => {
  const ALL: readonly (readonly [string, string])[] = [
    ['orderChanges', ORDERS],
    ['tradeExecutions', TRADES],
    ['predictionsLogged', PREDICTIONS],
    ['changes', CHANGES],
  ];

  it.each(ALL)('%s refuses what is no cursor', async (_name, query) => {
    for (const after of ['x', '', 'ffffffff.1.2.3']) {
      await expect((await live.open(query, { after })).next()).rejects.toThrow('BAD_INPUT');
    }
  });

  it.each(ALL)('%s is reset by a cursor of another history', async (_name, query) => {
    await placeOne(live.server, {}, { account: live.account });
    const [, begun] = await live.begin(query);
    const [epoch] = begun.cursor.split('.');
    for (const after of ['ffffffff.1', `${epoch}.1.00000000`, `${epoch}.2`]) {
      const [reset, end] = await (await live.open(query, { after })).take(2);
      expect(reset).toMatchObject({ kind: 'RESET', cursor: begun.cursor });
      expect(end).toMatchObject({ kind: 'CAUGHT_UP', cursor: begun.cursor });
    }
  });

  it.each(ALL)('%s is refused without the account or the permission', async (_name, query) => {
    const stranger = await live.server.issueKey('BOT', ['main']);
    await expect((await live.open(query, {}, stranger.token)).next()).rejects.toThrow('FORBIDDEN');
    await expect((await live.open(query, { account: 'nobody' })).next()).rejects.toThrow(
      'NOT_FOUND',
    );
  });

  it('changes is refused to those who may not read the log', async () => {
    const viewer = await live.server.issueKey('VIEWER', [live.account]);
    await expect((await live.open(CHANGES, {}, viewer.token)).next()).rejects.toThrow('FORBIDDEN');
    const orders = await live.open(ORDERS, {}, viewer.token);
    expect((await orders.next()).kind).toBe('CAUGHT_UP');
  });

  it('tells one operation of many rows change by change', async () => {
    const [orders] = await live.begin(ORDERS);
    const [log] = await live.begin(CHANGES);
    await place(
      live.server,
      many(20, () => orderItem()),
      { account: live.account },
    );
    const seqs = Array.from({ length: 20 }, (_none, index) => index + 1);
    for (const stream of [orders, log]) {
      const events = await stream.take(20);
      expect(events.map(({ seq }) => Number(seq))).toEqual(seqs);
      expect(events.map(({ previousSeq }) => Number(previousSeq))).toEqual(
        seqs.map((seq) => seq - 1),
      );
    }
  });
});
