import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  close,
  inputOf,
  OPEN,
  open,
  openOne,
  positionOf,
  refusalOf,
} from '../support/documents.ts';
import { makeSymbol, openItem } from '../support/make.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.stop());

interface Stored {
  readonly quantity: string;
  readonly openedAt: string;
}

/** Opens a position whose quantity and instant stand in the document itself. */
async function openByLiteral(quantity: string, openedAt = '"2026-01-01T00:00:00Z"') {
  return server.request<{ openPositions: { results: { position: Stored }[] } }>(
    `mutation {
      openPositions(input: { account: "main", items: [{
        exchange: "bybit", symbol: "${makeSymbol()}", side: LONG, quantity: ${quantity},
        entryPrice: 1, openedAt: ${openedAt}
      }] }) { results { position { quantity openedAt } } }
    }`,
  );
}

async function readBack(id: string): Promise<Stored | undefined> {
  const { node } = await server.data<{ node: Stored }>(
    'query ($id: ID!) { node(id: $id) { ... on Position { quantity openedAt } } }',
    { id },
  );
  return node;
}

const TWENTY = '99999999999999999999';
const DECIMALS: [string, string][] = [
  ['0.1', '0.1'],
  ['0.2', '0.2'],
  ['1e-18', '0.000000000000000001'],
  ['1E+3', '1000'],
  ['1.50', '1.5'],
  ['007.70', '7.7'],
  ['9007199254740993', '9007199254740993'],
  ['0.1234567890123456789'.slice(0, 20), '0.123456789012345678'],
  [TWENTY, TWENTY],
  [`${TWENTY}.999999999999999999`, `${TWENTY}.999999999999999999`],
];

describe('decimals', () => {
  it.each(DECIMALS)('%s comes back as %s through a variable', async (given, expected) => {
    const { id } = await openOne(server, openItem({ quantity: given }));
    expect((await readBack(id))?.quantity).toBe(expected);
  });

  it.each(DECIMALS)('%s comes back as %s through a literal string', async (given, expected) => {
    const { data } = await openByLiteral(`"${given}"`);
    expect(data?.openPositions.results[0]?.position.quantity).toBe(expected);
  });

  // GraphQL's grammar has no number with leading zeros.
  it.each(DECIMALS.filter(([given]) => !given.startsWith('00')))(
    '%s comes back as %s through a literal number',
    async (given, expected) => {
      const { data } = await openByLiteral(given);
      expect(data?.openPositions.results[0]?.position.quantity).toBe(expected);
    },
  );

  it('adds 0.1 and 0.2 to 0.3', async () => {
    const { id } = await openOne(server, openItem({ entryPrice: '0.1', quantity: '1' }));
    const parts = [
      { id, price: '0.2', quantity: '0.5', fees: '0.1' },
      { id, price: '0.4', quantity: '0.5', fees: '0.2' },
    ];
    for (const part of parts) await close(server, [part]);
    const { node } = await server.data<{ node: unknown }>(
      'query ($id: ID!) { node(id: $id) { ... on Position { fees realizedPnl } } }',
      { id },
    );
    // 0.1 · 0.5 + 0.3 · 0.5
    expect(node).toEqual({ fees: '0.3', realizedPnl: '0.2' });
  });

  it.each([
    [1, '1'],
    [Number.MAX_SAFE_INTEGER, '9007199254740991'],
  ])('takes the JSON number %d, which is a safe integer', async (quantity, expected) => {
    const { results } = await open(server, [openItem({ quantity })]);
    expect(positionOf(results[0]).quantity).toBe(expected);
  });

  it.each([0.1, 1.5, 1e-18, Number.MAX_SAFE_INTEGER + 1, 1e20])(
    'refuses the JSON number %d, which may have lost digits',
    async (quantity) => {
      const refused = await server.request(OPEN, inputOf([openItem({ quantity })]));
      expect(refused.errors[0]?.extensions).toMatchObject({ code: 'BAD_INPUT', executed: 'NO' });
      expect(refused.errors[0]?.message).toContain('a JSON number must be a safe integer');
    },
  );

  it.each(['1e-19', '100000000000000000000', '0.1234567890123456789', '1e20', '0x10', '1,5', ''])(
    'refuses %j, which it could not store as it is',
    async (quantity) => {
      const { errors } = await server.request(OPEN, inputOf([openItem({ quantity })]));
      expect(errors[0]?.extensions).toMatchObject({
        code: 'BAD_INPUT',
        path: ['input', 'items', '0', 'quantity'],
      });
    },
  );

  it('keeps every digit in the change log', async () => {
    const quantity = `${TWENTY}.000000000000000001`;
    await openOne(server, openItem({ quantity }));
    const { changes } = await server.data<{ changes: { nodes: { after: unknown }[] } }>(
      '{ changes(account: "main", first: 500, where: { entities: ["position"] }) { nodes { after } } }',
    );
    expect(changes.nodes.at(-1)?.after).toMatchObject({ quantity, entryPrice: '100' });
  });

  it('refuses a profit that has more digits than can be stored, and stores nothing', async () => {
    const { id } = await openOne(server, openItem({ entryPrice: '1', quantity: TWENTY }));
    const before = await server.inventory();
    const refusal = refusalOf(
      await server.request(
        `mutation ($input: ClosePositionsInput!) {
          closePositions(input: $input) { results { status } }
        }`,
        inputOf([{ id, price: TWENTY }]),
      ),
    );
    expect(refusal.extensions).toMatchObject({ executed: 'NO', retryable: false });
    expect(['BAD_INPUT', 'BATCH_REJECTED']).toContain(refusal.extensions.code);
    expect(await server.inventory()).toEqual(before);
  });
});

const INSTANTS: [string, string][] = [
  ['2026-03-04T05:06:07Z', '2026-03-04T05:06:07.000000Z'],
  ['2026-03-04T05:06:07.1Z', '2026-03-04T05:06:07.100000Z'],
  ['2026-03-04T05:06:07.123456Z', '2026-03-04T05:06:07.123456Z'],
  ['2026-03-04T05:06:07.000001+00:00', '2026-03-04T05:06:07.000001Z'],
  ['2026-03-04T05:06:07.999999+05:45', '2026-03-03T23:21:07.999999Z'],
  ['2025-12-31T23:30:00.654321-01:00', '2026-01-01T00:30:00.654321Z'],
  ['2024-02-29T12:00:00.123456000Z', '2024-02-29T12:00:00.123456Z'],
];

describe('instants', () => {
  it.each(INSTANTS)('%s comes back as %s through a variable', async (openedAt, expected) => {
    const { id, openedAt: answered } = await openOne(server, openItem({ openedAt }));
    expect(answered).toBe(expected);
    expect((await readBack(id))?.openedAt).toBe(expected);
  });

  it.each(INSTANTS)('%s comes back as %s through a literal', async (openedAt, expected) => {
    const { data } = await openByLiteral('1', `"${openedAt}"`);
    expect(data?.openPositions.results[0]?.position.openedAt).toBe(expected);
  });

  it.each([
    '2026-02-30T00:00:00Z',
    '2025-02-29T00:00:00Z',
    '2026-03-04',
    '2026-03-04T05:06:07',
    '2026-03-04T24:00:00Z',
    '2026-03-04T05:06:60Z',
    '2026-03-04T05:06:07.1234567Z',
    1_767_225_600_000,
  ])('refuses %j', async (openedAt) => {
    const { errors } = await server.request(OPEN, inputOf([openItem({ openedAt })]));
    expect(errors[0]?.extensions).toMatchObject({
      code: 'BAD_INPUT',
      path: ['input', 'items', '0', 'openedAt'],
    });
  });
});
