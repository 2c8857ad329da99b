import { afterAll, beforeAll, expect, it } from 'vitest';
import { openOne, statusesOf, update } from '../support/documents.ts';
import { openItem } from '../support/make.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.stop());

it('a position that was opened while its name was waited for is found', async () => {
  const item = openItem();
  const { exchange, symbol, side } = item;
  const { id } = await openOne(server, item);
  const rowId = id.split('.')[2] ?? '';
  const other = server.connect();
  await other`begin`;
  await other`
    update positions set status = 'CLOSED', quantity = 0, closed_at = clock_timestamp()
    where id = ${rowId}`;
  await other`
    insert into positions
    select (jsonb_populate_record(p, jsonb_build_object('id', gen_random_uuid(), 'status', 'OPEN',
      'quantity', 1, 'closed_at', null))).*
    from positions p where id = ${rowId}`;
  const updated = update(server, [{ exchange, symbol, side, leverage: '7' }]);
  await server.untilBlocked(1);
  await other`commit`;
  expect(statusesOf(await updated)).toEqual(['UPDATED']);
  const rows = await server.sql`
    select status, leverage::int as leverage from positions where symbol = ${String(symbol)}
    order by status`;
  expect(rows).toEqual([
    { status: 'CLOSED', leverage: 1 },
    { status: 'OPEN', leverage: 7 },
  ]);
});
