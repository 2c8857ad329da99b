import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { OPEN, inputOf, refusalOf } from '../../support/documents.ts';
import { openItem } from '../../support/make.ts';
import { startTestServer, type TestServer } from '../../support/server.ts';

const SET = `mutation ($input: SetTradingStateInput!) {
  setTradingState(input: $input) { id tradingState }
}`;
const CREATE = `mutation ($input: CreateAccountInput!) {
  createAccount(input: $input) { id name hedgeMode tradingState headSeq }
}`;
const CHANGES = `query ($account: ID!, $after: String) {
  changes(account: $account, after: $after) {
    nodes { entity operation ids before after actor } pageInfo { endCursor }
  }
}`;

interface Changes {
  readonly nodes: readonly object[];
  readonly pageInfo: { readonly endCursor: string | null };
}

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.stop());

beforeEach(async () => {
  await server.sql`update account_heads set trading_state = 'ACTIVE'`;
});

async function changesOf(account: string, after: string | null = null): Promise<Changes> {
  const { changes } = await server.data<{ changes: Changes }>(CHANGES, { account, after });
  return changes;
}

function set(input: object, key = server.key) {
  const given = { account: 'main', reason: 'drawdown', ...input };
  return server.request(SET, { input: given }, { key });
}

async function stateOf(account = 'main'): Promise<unknown> {
  const [row] = await server.sql`
    select trading_state from account_heads where account_id = ${account}`;
  return row?.trading_state ?? row?.tradingState;
}

describe('setTradingState', () => {
  it('sets the state and logs it with its reason', async () => {
    const { pageInfo } = await changesOf('main');
    const { data } = await set({ state: 'HALTED' });
    expect(data).toEqual({ setTradingState: { id: 'main', tradingState: 'HALTED' } });
    expect(await stateOf()).toBe('HALTED');
    expect((await changesOf('main', pageInfo.endCursor)).nodes).toMatchObject([
      {
        entity: 'account',
        operation: 'UPDATE',
        ids: ['main'],
        before: { id: 'main', tradingState: 'ACTIVE' },
        after: { id: 'main', tradingState: 'HALTED', reason: 'drawdown' },
      },
    ]);
  });

  it('logs nothing when it is the state already', async () => {
    const { pageInfo } = await changesOf('main');
    const { data } = await set({ state: 'ACTIVE' });
    expect(data).toEqual({ setTradingState: { id: 'main', tradingState: 'ACTIVE' } });
    expect((await changesOf('main', pageInfo.endCursor)).nodes).toEqual([]);
  });

  it('holds for the fields after it in the same operation', async () => {
    const document = `mutation ($set: SetTradingStateInput!, $open: OpenPositionsInput!) {
      setTradingState(input: $set) { tradingState }
      openPositions(input: $open) { results { status error { code } } }
    }`;
    const open = { account: 'main', mode: 'PER_ITEM', items: [openItem()] };
    const halt = { account: 'main', state: 'HALTED', reason: 'x' };
    expect(await server.data(document, { set: halt, open })).toMatchObject({
      openPositions: { results: [{ status: 'REJECTED', error: { code: 'TRADING_HALTED' } }] },
    });
    const resume = { account: 'main', state: 'ACTIVE', reason: 'x' };
    expect(await server.data(document, { set: resume, open })).toMatchObject({
      openPositions: { results: [{ status: 'CREATED' }] },
    });
  });

  it('takes the last of two in one operation', async () => {
    const one = (name: string, state: string) =>
      `${name}: setTradingState(input: { account: "main", state: ${state}, reason: "r" }) {
        tradingState
      }`;
    const { pageInfo } = await changesOf('main');
    const document = `mutation { ${one('a', 'HALTED')} ${one('b', 'ACTIVE')} }`;
    expect(await server.data(document)).toEqual({
      a: { tradingState: 'HALTED' },
      b: { tradingState: 'ACTIVE' },
    });
    expect(await stateOf()).toBe('ACTIVE');
    expect((await changesOf('main', pageInfo.endCursor)).nodes).toHaveLength(2);
  });

  it('logs the state that was there when two set it at once', async () => {
    const { pageInfo } = await changesOf('main');
    await Promise.all([set({ state: 'HALTED' }), set({ state: 'REDUCING' })]);
    const { nodes } = await changesOf('main', pageInfo.endCursor);
    const [first, second] = nodes as { before: object; after: { tradingState: string } }[];
    expect(nodes).toHaveLength(2);
    expect(first?.before).toMatchObject({ tradingState: 'ACTIVE' });
    expect(second?.before).toMatchObject({ tradingState: first?.after.tradingState });
    expect(await stateOf()).toBe(second?.after.tradingState);
  });

  it('refuses a position that was begun before it', async () => {
    const session = server.connect();
    const item = openItem();
    await session.unsafe('begin');
    await session`
      select from account_heads where account_id = 'main' for update`;
    const input = inputOf([item], { mode: 'PER_ITEM' });
    const opening = server.request(OPEN, input);
    await server.untilBlocked(1);
    await session`
      update account_heads set trading_state = 'HALTED' where account_id = 'main'`;
    await session.unsafe('commit');
    expect((await opening).data).toMatchObject({
      openPositions: { results: [{ status: 'REJECTED', error: { code: 'TRADING_HALTED' } }] },
    });
  });

  it.each([
    [{ state: 'HALTED', reason: '' }, 'BAD_INPUT'],
    [{ state: 'HALTED', reason: 'a\nb' }, 'BAD_INPUT'],
    [{ state: 'HALTED', account: '_system' }, 'FORBIDDEN'],
    [{ state: 'HALTED', account: 'nowhere' }, 'NOT_FOUND'],
  ])('refuses %o', async (input, code) => {
    expect(refusalOf(await set(input)).extensions.code).toBe(code);
  });

  it.each([
    ['BOT', 'FORBIDDEN'],
    ['OPERATOR', null],
  ] as const)('answers a %s with %s', async (role, code) => {
    const { token } = await server.issueKey(role, ['main']);
    const { errors } = await set({ state: 'REDUCING' }, token);
    expect(errors[0]?.extensions.code ?? null).toBe(code);
  });
});

describe('createAccount', () => {
  it('makes an account that trades at once and logs it for the system', async () => {
    const input = { id: 'paper-1', name: 'Paper', hedgeMode: true };
    const created = { ...input, tradingState: 'ACTIVE', headSeq: '0' };
    expect(await server.data(CREATE, { input })).toEqual({ createAccount: created });
    const { nodes } = await changesOf('_system');
    expect(nodes.at(-1)).toMatchObject({
      entity: 'account',
      operation: 'INSERT',
      ids: ['paper-1'],
      before: null,
      after: input,
    });
    const opened = await server.data(OPEN, inputOf([openItem()], { account: 'paper-1' }));
    expect(opened).toMatchObject({ openPositions: { counts: { created: 1 } } });
    const data = await server.data('{ account(id: "paper-1") { name headSeq } }');
    expect(data).toEqual({ account: { name: 'Paper', headSeq: '2' } });
  });

  it('may be used by the fields after it in the same operation', async () => {
    const document = `mutation ($account: CreateAccountInput!, $open: OpenPositionsInput!) {
      createAccount(input: $account) { id }
      openPositions(input: $open) { counts { created } }
    }`;
    const data = await server.data(document, {
      account: { id: 'both', name: 'Both' },
      open: { account: 'both', items: [openItem()] },
    });
    expect(data).toMatchObject({ openPositions: { counts: { created: 1 } } });
  });

  it('answers a repeat with the account and logs it once', async () => {
    const input = { id: 'twice', name: 'Twice' };
    const first = await server.data(CREATE, { input });
    const before = await changesOf('_system');
    expect(await server.data(CREATE, { input })).toEqual(first);
    expect(await changesOf('_system')).toEqual(before);
  });

  it.each([{ name: 'Other' }, { name: 'Taken', hedgeMode: true }])(
    'refuses a taken id with %o',
    async (changes) => {
      await server.data(CREATE, { input: { id: 'taken', name: 'Taken' } });
      const answer = await server.request(CREATE, { input: { id: 'taken', ...changes } });
      expect(refusalOf(answer).extensions).toMatchObject({
        code: 'CONFLICT',
        path: ['input', 'id'],
      });
    },
  );

  it('makes one of those that arrive at once', async () => {
    const input = { id: 'race', name: 'Race' };
    const answers = await Promise.all([1, 2, 3].map(() => server.request(CREATE, { input })));
    expect(answers.map(({ data }) => data)).toEqual(
      new Array(3).fill({ createAccount: expect.objectContaining({ id: 'race' }) }),
    );
  });

  it.each(['Main', '1st', 'a_b', '', 'a'.repeat(41), '_system', 'a.b'])(
    'refuses the id %j',
    async (id) => {
      const answer = await server.request(CREATE, { input: { id, name: 'x' } });
      expect(refusalOf(answer).extensions).toMatchObject({
        code: 'BAD_INPUT',
        path: ['input', 'id'],
      });
    },
  );

  it('is for administrators who are not bound to other accounts', async () => {
    const input = { id: 'foreign', name: 'Foreign' };
    for (const [role, accounts] of [
      ['OPERATOR', []],
      ['ADMIN', ['main']],
    ] as const) {
      const { token } = await server.issueKey(role, accounts);
      const answer = await server.request(CREATE, { input }, { key: token });
      expect(refusalOf(answer).extensions.code).toBe('FORBIDDEN');
    }
  });
});
