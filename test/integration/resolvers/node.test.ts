import { afterAll, beforeAll, expect, it } from 'vitest';
import { openOne, predict } from '../../support/documents.ts';
import { many, openItem, predictionItem } from '../../support/make.ts';
import { startTestServer, type TestServer } from '../../support/server.ts';

let server: TestServer;
let position: string;
let prediction: string;

beforeAll(async () => {
  server = await startTestServer();
  position = (await openOne(server, openItem())).id;
  prediction = (await predict(server, [predictionItem()])).results[0]?.id ?? '';
});

afterAll(() => server.stop());

const NODES = `query ($ids: [ID!]!) {
  nodes(ids: $ids) {
    __typename id ... on Position { quantity } ... on Prediction { signal } ... on Account { name }
  }
}`;
const NODE = 'query ($id: ID!) { node(id: $id) { __typename id } }';
const NO_ROW = '00000000-0000-7000-8000-000000000000';

it('gives what each id names, in the order of the ids, and null where there is nothing', async () => {
  const ids = [prediction, `position.main.${NO_ROW}`, 'main', position, 'account.main.x', position];
  const known = ids.toSpliced(4, 1);
  const { nodes } = await server.data<{ nodes: unknown }>(NODES, { ids: known });
  const found = { __typename: 'Position', id: position, quantity: '2' };
  expect(nodes).toEqual([
    { __typename: 'Prediction', id: prediction, signal: 'LONG' },
    null,
    { __typename: 'Account', id: 'main', name: 'Main' },
    found,
    found,
  ]);
});

it('takes one statement per kind, however many ids', async () => {
  server.statements();
  const ids = many(500, () => ({})).map(() => position);
  await server.data(NODES, { ids: [...ids.slice(2), prediction, 'main'] });
  expect(server.statements()).toEqual([
    'positions.findByIds',
    'predictions.findByIds',
    'accounts.findByIds',
  ]);
});

it('refuses more than 500 ids', async () => {
  const ids = many(501, () => ({})).map(() => position);
  const { errors } = await server.request(NODES, { ids });
  expect(errors[0]?.extensions).toMatchObject({ code: 'BAD_INPUT', path: ['ids'] });
});

it('finds one thing by its id, and null for an id of nothing', async () => {
  expect(await server.data(NODE, { id: position })).toEqual({
    node: { __typename: 'Position', id: position },
  });
  expect(await server.data(NODE, { id: `prediction.main.${NO_ROW}` })).toEqual({ node: null });
});

it.each([
  'Main',
  'position.main.1',
  `thing.main.${NO_ROW}`,
  `position.main.${NO_ROW}.x`,
  `position.MAIN.${NO_ROW}`,
  'x\u0000y',
  '',
])('refuses the malformed id %j', async (id) => {
  const { data, errors } = await server.request(NODE, { id });
  expect(data).toEqual({ node: null });
  expect(errors[0]?.extensions).toMatchObject({ code: 'BAD_INPUT', path: ['id'] });
});

it('keeps the things of other accounts from a key', async () => {
  const { token } = await server.issueKey('BOT', ['other']);
  for (const id of [position, prediction, 'main']) {
    const { data, errors } = await server.request(NODE, { id }, { key: token });
    expect(data).toEqual({ node: null });
    expect(errors[0]?.extensions.code).toBe('FORBIDDEN');
  }
});
