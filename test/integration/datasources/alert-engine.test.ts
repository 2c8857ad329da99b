import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { verifyChain } from '../../../datasources/change.ts';
import { createUnitsOfWork, type UnitsOfWork } from '../../../datasources/unit-of-work.ts';
import { createTestProcess, type TestProcess } from '../../support/alerts.ts';
import { makeCall } from '../../support/call.ts';
import { startTestServer, type TestServer } from '../../support/server.ts';

let server: TestServer;
let one: TestProcess;
let made = 0;
let node: string;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.stop());

beforeEach(async () => {
  await server.sql`truncate alerts`;
  // The seed: process.eventLoopMsP99 > 200 for 60 s, a WARNING.
  await server.sql`update alert_rules set enabled = name = 'event-loop'`;
  made += 1;
  node = `host:${made}`;
  one = createTestProcess(server, node);
});

interface Row {
  readonly id: string;
  readonly rule: string;
  readonly node: string;
  readonly state: string;
  readonly value: number;
  readonly message: string;
  readonly isOver: boolean;
}

async function alerts(): Promise<readonly Row[]> {
  return server.sql<Row[]>`
    select id, rule, node, state, value, message, resolved_at is not null as "isOver"
    from alerts order by fired_at, node`;
}

async function logged(): Promise<readonly string[]> {
  const rows = await server.sql<{ text: string }[]>`
    select operation || ' ' || (after ->> 'state') as text from changes
    where entity = 'alert' and after ->> 'node' = ${node} order by seq`;
  return rows.map(({ text }) => text);
}

describe('an alert', () => {
  it('fires once its rule has held for so long, and is one until it is over', async () => {
    one.loopMs = 500;
    await one.round();
    await one.round(50);
    expect(await alerts()).toEqual([]);
    await one.round();
    const message = `process.eventLoopMsP99 of ${node} is 500 ms: > 200 for 60 s.`;
    expect(await alerts()).toMatchObject([
      { rule: 'event-loop', node, state: 'FIRING', value: 500, message },
    ]);
    one.loopMs = 900;
    for (let round = 0; round < 20; round += 1) await one.round();
    expect(await alerts()).toMatchObject([{ state: 'FIRING', value: 500 }]);
    one.loopMs = 200;
    await one.round();
    expect(await alerts()).toMatchObject([{ state: 'RESOLVED', isOver: true }]);
    expect(await logged()).toEqual(['INSERT FIRING', 'UPDATE RESOLVED']);
    const sql = server.tradewind.database.interactive.sql(makeCall());
    expect(await verifyChain(sql, '_system')).toMatchObject({ firstBad: null });
  });

  it('waits anew after a break', async () => {
    one.loopMs = 500;
    await one.round();
    await one.round(50);
    one.loopMs = 0;
    await one.round();
    one.loopMs = 500;
    await one.round();
    await one.round(50);
    expect(await alerts()).toEqual([]);
    await one.round();
    expect(await alerts()).toHaveLength(1);
  });

  it('is another one for each process', async () => {
    const other = createTestProcess(server, `${node}0`);
    for (const process of [one, other]) {
      process.loopMs = 500;
      await process.round();
      await process.round(60);
    }
    expect(await alerts()).toMatchObject([{ node }, { node: `${node}0` }]);
    one.loopMs = 0;
    await one.round();
    expect(await alerts()).toMatchObject([{ state: 'RESOLVED' }, { state: 'FIRING' }]);
  });

  it('is over when its rule is disabled', async () => {
    one.loopMs = 500;
    await one.round();
    await one.round(60);
    await server.sql`update alert_rules set enabled = false`;
    await one.round();
    expect(await alerts()).toMatchObject([{ state: 'RESOLVED' }]);
  });

  it('is resolved by another process when its own has gone', async () => {
    one.loopMs = 500;
    await one.round();
    await one.round(60);
    const other = createTestProcess(server, `${node}0`);
    await other.round();
    expect(await alerts()).toMatchObject([{ state: 'FIRING' }]);
    await server.sql`update alerts set seen_at = seen_at - interval '6 minutes'`;
    await other.round(60);
    expect(await alerts()).toMatchObject([{ state: 'RESOLVED' }]);
    // It was only away: it fires anew.
    await one.round(60);
    await one.round();
    expect(await alerts()).toMatchObject([{ state: 'RESOLVED' }, { state: 'FIRING' }]);
  });

  it('of an earlier process of this name is cleared', async () => {
    one.loopMs = 500;
    await one.round();
    await one.round(60);
    await createTestProcess(server, node).round();
    expect(await alerts()).toMatchObject([{ state: 'RESOLVED' }]);
  });
});

describe('while the database is away', () => {
  it('the last known rules hold, and what was missed is written afterwards', async () => {
    const units = createUnitsOfWork(server.tradewind.database, () => {});
    let isAway = false;
    const broken: UnitsOfWork = {
      run: async (request, work) => {
        if (isAway) throw new Error('away');
        return units.run(request, work);
      },
    };
    one = createTestProcess(server, node, broken);
    await one.round();
    isAway = true;
    one.fault = new Error('away');
    one.loopMs = 500;
    await one.round();
    await expect(one.round(60)).rejects.toThrow('away');
    one.loopMs = 0;
    await expect(one.round()).rejects.toThrow('away');
    expect(one.warnings).toHaveLength(3);
    isAway = false;
    one.fault = null;
    await one.round();
    expect(await alerts()).toMatchObject([{ state: 'RESOLVED', value: 500, isOver: true }]);
    await one.round();
    expect(await alerts()).toHaveLength(1);
  });
});
