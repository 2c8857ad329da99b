import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { inputOf, OPEN } from '../../support/documents.ts';
import { openItem } from '../../support/make.ts';
import { startTestServer, type TestServer } from '../../support/server.ts';

const OPERATION = `query ($key: String!) {
  operation(idempotencyKey: $key) { idempotencyKey state response committedAt }
}`;

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.stop());

function open(idempotencyKey: string, key = server.key) {
  const headers = { 'idempotency-key': idempotencyKey };
  return server.request(OPEN, inputOf([openItem()]), { headers, key });
}

async function read(idempotencyKey: string, key = server.key): Promise<unknown> {
  type Data = { readonly operation: unknown };
  return (await server.data<Data>(OPERATION, { key: idempotencyKey }, { key })).operation;
}

describe('operation', () => {
  it('gives the answer of what was committed', async () => {
    const { data } = await open('done');
    expect(await read('done')).toEqual({
      idempotencyKey: 'done',
      state: 'COMMITTED',
      response: data,
      committedAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]{15}Z$/),
    });
  });

  it('is null for a key that never arrived or was refused', async () => {
    const headers = { 'idempotency-key': 'refused' };
    const refused = await server.request(OPEN, inputOf([openItem({ quantity: '0' })]), { headers });
    expect(refused.data).toBeNull();
    expect(await read('refused')).toBeNull();
    expect(await read('never')).toBeNull();
  });

  it('says that a request is under way and then what it came to', async () => {
    const session = server.connect();
    await session.unsafe('begin');
    await session`select from account_heads where account_id = 'main' for update`;
    const opening = open('slow');
    await server.untilBlocked(1);
    expect(await read('slow')).toEqual({
      idempotencyKey: 'slow',
      state: 'IN_FLIGHT',
      response: null,
      committedAt: null,
    });
    expect(await read('other')).toBeNull();
    await session.unsafe('commit');
    const { data } = await opening;
    expect(await read('slow')).toMatchObject({ state: 'COMMITTED', response: data });
  });

  it('does not hold back a request by looking for it', async () => {
    const answers = await Promise.all([
      open('watched'),
      ...[1, 2, 3, 4].map(() => read('watched')),
    ]);
    expect(answers[0]).toMatchObject({ errors: [] });
  });

  it('shows nobody the requests of another', async () => {
    await open('mine');
    const { token } = await server.issueKey('ADMIN', []);
    expect(await read('mine', token)).toBeNull();
    await open('mine', token);
    expect(await read('mine', token)).toMatchObject({ state: 'COMMITTED' });
  });

  it('is for everybody who may read', async () => {
    const { token } = await server.issueKey('VIEWER', ['main']);
    expect(await read('anything', token)).toBeNull();
  });
});
