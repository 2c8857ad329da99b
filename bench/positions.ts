import { createPositionRepository, type Position } from '../datasources/position.ts';
import { writeAtOnce } from '../datasources/held-writes.ts';
import type { CompiledStatement } from '../datasources/sql.ts';
import { decodeId } from '../datasources/id.ts';
import { makeBody } from './client.ts';
import { createCapture, runStatement, toChangeRow } from './driver-statement.ts';
import { type Contender, race } from './race.ts';
import type { Bench, Result } from './table.ts';
import { withWorld, type World } from './world.ts';

/**
 * `updatePositions` over HTTP, 500 positions a request named by id, ATOMIC, each with a new stop,
 * against what writes the same by the driver in this process: BEGIN, the very UPDATE statement of
 * the product (500 rows by id and version from json), one INSERT of the 500 change rows with the
 * documents before and after, COMMIT. The driver neither reads nor locks the rows first, checks no
 * rule, makes no hash chain, and its documents and JSON are made before the clock runs.
 * Each connection has positions of its own.
 */
const UPDATE_POSITIONS = `
  mutation BenchUpdate($input: UpdatePositionsInput!) {
    updatePositions(input: $input) {
      counts { updated } results { index status position { id version } }
    }
  }`;

const OPEN_POSITIONS = `
  mutation BenchOpen($input: OpenPositionsInput!) {
    openPositions(input: $input) { results { position { id } } }
  }`;

const ITEMS = 500;
const ACCEPT = 0.5;

export async function positionLines(bench: Bench): Promise<readonly Result[]> {
  const results: Result[] = [];
  for (const connections of [1, 4]) {
    const result = await withWorld(bench, `positions_${connections}`, (world) =>
      measure(world, connections, bench.isQuick),
    );
    results.push(result);
  }
  return results;
}

async function measure(world: World, connections: number, isQuick: boolean): Promise<Result> {
  const size = { connections, batches: isQuick ? 2 : 20 };
  const { product, limit, ratio } = await race(
    await createProduct(world, size),
    await createLimit(world, size),
    isQuick ? 1 : 7,
  );
  const rate = (jobs: number) => `${Math.round(jobs * ITEMS).toLocaleString('en')} rows/s`;
  return {
    line: `updatePositions, ${ITEMS} a request, ${connections} connection${connections > 1 ? 's' : ''}`,
    figure: rate(product),
    limit: rate(limit),
    ratio,
    bound: { kind: 'at least', value: ACCEPT },
  };
}

interface Size {
  readonly connections: number;
  /** Of a round, on each connection. */
  readonly batches: number;
}

async function createProduct({ client }: World, size: Size): Promise<Contender> {
  const groups: string[][] = [];
  for (let group = 0; group < size.connections; group += 1) {
    groups.push(await openGroup(client, group));
  }
  return {
    async prepare(round) {
      return groups.map((ids) =>
        Array.from({ length: size.batches }, (_none, batch) => {
          const stopLossPrice = stopOf(round * size.batches + batch);
          const items = ids.map((id) => ({ id, stopLossPrice }));
          const body = makeBody(UPDATE_POSITIONS, { input: { account: 'main', items } });
          return async () => {
            const answer = await client.post(body);
            if (!answer.includes(`"updated":${ITEMS}`)) throw new Error(answer.slice(0, 500));
          };
        }),
      );
    },
  };
}

async function openGroup(client: World['client'], group: number): Promise<string[]> {
  const items = Array.from({ length: ITEMS }, (_none, index) => ({
    exchange: 'bybit',
    symbol: `B${group}X${index}USDT`,
    side: 'LONG',
    quantity: '0.125',
    entryPrice: '64350.5',
    stopLossPrice: '60000',
    takeProfitPrice: '70000',
    leverage: '3',
    strategy: 'trend',
    metadata: { trailBy: '150.5', expiresAt: '2026-12-01T00:00:00Z' },
  }));
  const { openPositions } = await client.query<{
    openPositions: { results: readonly { position: { id: string } }[] };
  }>(OPEN_POSITIONS, { input: { account: 'main', items } });
  return openPositions.results.map(({ position }) => position.id);
}

/** Another one in each batch, always below the entry. */
function stopOf(batch: number): string {
  return `${60_000 + (batch % 4000)}.25`;
}

async function createLimit(world: World, size: Size): Promise<Contender> {
  const drivers = Array.from({ length: size.connections }, () => world.openDriver());
  const groups: Position[][] = [];
  for (const group of drivers.keys()) groups.push(await insertGroup(world, group));
  let seq = 0;
  return {
    async prepare(round) {
      const lists = [];
      for (const [connection, driver] of drivers.entries()) {
        const jobs = [];
        for (let batch = 0; batch < size.batches; batch += 1) {
          const stopLossPrice = stopOf(round * size.batches + batch);
          const group = groups[connection] ?? [];
          const updates = group.map((before) => ({
            before,
            next: { ...before, stopLossPrice, version: before.version + 1 },
          }));
          groups[connection] = updates.map(({ next }) => next);
          const { update, changes } = await toStatements(updates, seq);
          seq += changes.length;
          const text = JSON.stringify(changes);
          jobs.push(async () => {
            await driver.begin(async (transaction) => {
              const updated = await runStatement(transaction, update);
              if (updated !== ITEMS) throw new Error(`${updated} rows were updated`);
              await transaction`
                insert into changes select * from json_populate_recordset(
                  null::changes, ${text}::text::json)`;
            });
          });
        }
        lists.push(jobs);
      }
      return lists;
    },
  };
}

async function insertGroup(world: World, group: number): Promise<Position[]> {
  const ids = await openGroup(world.client, group + 100);
  const rows = await world.client.query<{ positions: { nodes: readonly Position[] } }>(
    `query ($ids: [ID!]) {
      positions(account: "main", where: { ids: $ids }, first: ${ITEMS}) { nodes {
        id exchange symbol side status quantity entryPrice stopLossPrice takeProfitPrice leverage
        realizedPnl fees strategy closeReason stopTriggeredAt stopTriggeredKind metadata openedAt
        updatedAt closedAt version
      } }
    }`,
    { ids },
  );
  const positions = rows.positions.nodes.map((row) => ({
    ...row,
    accountId: 'main',
    id: decodeId(row.id)?.id ?? '',
    hasFills: false,
  }));
  const capture = createCapture(ITEMS);
  const repository = createPositionRepository(writeAtOnce(capture.sql), capture.recorder);
  await repository.insertMany(
    'main',
    positions.map((position) => ({ ...position, clientId: null, itemHash: null })),
  );
  const driver = world.openDriver();
  for (const statement of capture.statements) await runStatement(driver, statement);
  return positions;
}

async function toStatements(
  updates: readonly { readonly before: Position; readonly next: Position }[],
  seq: number,
): Promise<{ readonly update: CompiledStatement; readonly changes: readonly object[] }> {
  const capture = createCapture(updates.length);
  await createPositionRepository(writeAtOnce(capture.sql), capture.recorder).updateMany(
    'main',
    updates,
  );
  const [update] = capture.statements;
  if (update === undefined) throw new Error('nothing was captured');
  return {
    update,
    changes: capture.changes.map((change, index) =>
      toChangeRow(change, seq + index + 1, 'BenchUpdate'),
    ),
  };
}
