import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { createCuttableClient } from '../support/cuttable.ts';
import { openOne } from '../support/documents.ts';
import { eventually } from '../support/eventually.ts';
import { follow } from '../../examples/follow.ts';
import { openItem } from '../support/make.ts';
import { type SecondNode, startSecondNode } from '../support/second-node.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { makeAccount } from '../support/trading.ts';

let server: TestServer;
let second: SecondNode;
let account: string;

beforeAll(async () => {
  server = await startTestServer({ environment: { NOTIFY: 'on' } });
  second = await startSecondNode(server);
});

afterAll(async () => {
  await second.stop();
  await server.stop();
});

beforeEach(async () => {
  account = await makeAccount(server);
});

const sessions = () => server.sql<{ pid: number }[]>`
  select pid from pg_stat_activity
  where datname = current_database() and application_name = 'tradewind wakeups'`;

it('tells of commits on a session of its own', async () => {
  const heard: string[] = [];
  const listener = server.connect();
  await listener.listen('tradewind_commits', (hint) => heard.push(hint));
  await eventually(async () => {
    await openOne(server, openItem(), { account });
    const [head] = await server.sql<{ seq: string }[]>`
      select seq from account_heads where account_id = ${account}`;
    expect(heard).toContain(`${account} ${head?.seq}`);
  });
  expect(await sessions()).toHaveLength(2);
});

it('goes on for readers of another node while its sessions are killed', async () => {
  const url = `${second.tradewind.url.replace('http', 'ws')}/graphql`;
  const connectionParams = { authorization: `Bearer ${server.key}` };
  const { client } = createCuttableClient({ url, connectionParams });
  const field = 'positionChanges';
  const followed = follow<{ readonly id: string }>(client, { field, account, fields: 'id' });
  await followed.ready;
  const opened: string[] = [];
  for (let round = 0; round < 5; round += 1) {
    await server.sql`
      select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and application_name = 'tradewind wakeups'`;
    for (let count = 0; count < 3; count += 1) {
      opened.push((await openOne(server, openItem(), { account })).id);
    }
    await eventually(() => expect([...followed.rows.keys()].sort()).toEqual([...opened].sort()));
  }
  expect(followed.counts).toMatchObject({ gaps: 0, duplicates: 0, resets: 0 });
  await eventually(async () => expect(await sessions()).toHaveLength(2));
  followed.stop();
  await client.dispose();
});
