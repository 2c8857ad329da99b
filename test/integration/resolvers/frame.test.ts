import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { StatementRun } from '../../../datasources/statistics.ts';
import type { Item } from '../../support/make.ts';
import { AWKWARD, makeMarketRows } from '../../support/market-rows.ts';
import { startTestServer, type TestServer } from '../../support/server.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
  await makeMarketRows(server);
});

afterAll(() => server.stop());

type Row = Readonly<Record<string, unknown>>;
type Frame = Row & {
  readonly count: number;
  readonly truncated: boolean;
  readonly asOfSeq: string;
};

/** Each frame beside the page that has the same rows, and the columns that decimals are in. */
const FRAMES = {
  trade: {
    type: 'TradeWhere',
    columns: 'id executedAt exchange symbol side price quantity commission realizedPnl strategy',
    decimals: ['price', 'quantity', 'commission', 'realizedPnl'],
    relations: 'order { id } position { id }',
  },
  position: {
    type: 'PositionWhere',
    columns:
      'id openedAt closedAt exchange symbol side status quantity entryPrice markPrice realizedPnl ' +
      'unrealizedPnl fees strategy',
    decimals: ['quantity', 'entryPrice', 'markPrice', 'realizedPnl', 'unrealizedPnl', 'fees'],
    relations: '',
  },
  prediction: {
    type: 'PredictionWhere',
    columns:
      'id predictedAt exchange symbol interval modelVersion signal signalConfidence price ' +
      'riskScore inferenceTimeMs',
    decimals: ['price'],
    relations: '',
  },
} as const;
type Kind = keyof typeof FRAMES;
const KINDS = ['trade', 'position', 'prediction'] as const satisfies readonly Kind[];

const HORIZONS = `
  horizonMinutes direction confidence predictedReturn
  outcome { actualReturn actualDirection correct }`;
const HORIZON_COLUMNS =
  'horizonMinutes direction confidence predictedReturn actualReturn actualDirection correct';

async function readFrame(
  kind: Kind | 'candle',
  columns: string,
  { where = {}, ...more }: { where?: Item; limit?: number; decimals?: string } = {},
): Promise<Frame> {
  const type = kind === 'candle' ? '' : FRAMES[kind].type;
  const data = await server.data<Record<string, Frame>>(
    `query ($where: ${type}, $limit: Int, $decimals: DecimalFormat) {
      ${kind}Frame(account: "main", where: $where, limit: $limit, decimals: $decimals) {
        count truncated asOfSeq ${columns}
      }
    }`,
    { where, ...more },
  );
  return Object.values(data)[0] as Frame;
}

/** The rows of the page, oldest first. */
async function readPage(kind: Kind, where: Item = {}, more = ''): Promise<readonly Row[]> {
  const { type, columns, relations } = FRAMES[kind];
  const data = await server.data<Record<string, { nodes: readonly Row[] }>>(
    `query ($where: ${type}) {
      ${kind}s(account: "main", where: $where, sort: ASC, first: 500) {
        nodes { ${columns} ${relations} ${more} }
      }
    }`,
    { where },
  );
  return Object.values(data)[0]?.nodes ?? [];
}

/** Of a row that a row refers to. */
function idOf(row: Row | undefined, relation: string): unknown {
  const related = row?.[relation] as Row | undefined;
  return related?.id;
}

/** The columns of rows. */
function turned(rows: readonly Row[], columns: string): Row {
  return Object.fromEntries(columns.split(' ').map((name) => [name, rows.map((row) => row[name])]));
}

describe.each(KINDS)('the columns of a %s frame', (kind) => {
  const { columns, decimals } = FRAMES[kind];

  it('have the values of the page', async () => {
    const rows = await readPage(kind);
    expect(rows.length).toBeGreaterThan(7);
    const { count, truncated, asOfSeq, ...frame } = await readFrame(kind, columns);
    expect(frame).toEqual(turned(rows, columns));
    expect({ count, truncated }).toEqual({ count: rows.length, truncated: false });
    const { account } = await server.data<{ account: { headSeq: string } }>(
      '{ account(id: "main") { headSeq } }',
    );
    expect(asOfSeq).toBe(account.headSeq);
  });

  it('have numbers for decimals when asked', async () => {
    const rows = await readPage(kind);
    const frame = await readFrame(kind, columns, { decimals: 'FLOAT' });
    for (const name of decimals) {
      const expected = rows.map((row) => (row[name] === null ? null : Number(row[name])));
      expect(frame[name]).toEqual(expected);
    }
  });

  it('are the newest rows, oldest first, where there are more than the limit', async () => {
    const rows = await readPage(kind);
    const ids = rows.map((row) => row.id);
    for (const limit of [1, 3, rows.length - 1]) {
      const frame = await readFrame(kind, 'id', { limit });
      expect(frame).toMatchObject({ count: limit, truncated: true, id: ids.slice(-limit) });
    }
    const all = await readFrame(kind, 'id', { limit: rows.length });
    expect(all).toMatchObject({ count: rows.length, truncated: false, id: ids });
  });

  it('are empty lists where nothing matches', async () => {
    const frame = await readFrame(kind, columns, { where: { symbols: ['NOWHERE'] } });
    const empty = Object.fromEntries(columns.split(' ').map((name) => [name, []]));
    expect(frame).toMatchObject({ count: 0, truncated: false, ...empty });
  });
});

describe('the filters of frames', () => {
  it.each<[Kind, Item]>([
    ['trade', { exchange: 'okx' }],
    ['trade', { symbols: ['FUSDT', 'P1USDT'] }],
    ['trade', { side: 'SELL' }],
    ['trade', { strategy: AWKWARD }],
    ['trade', { executedAt: { from: '2026-02-01T00:00:02.000002Z', to: '2026-02-01T00:00:08Z' } }],
    ['position', { exchange: 'okx', side: 'LONG' }],
    ['position', { status: ['CLOSED'] }],
    ['position', { symbols: [] }],
    ['position', { strategy: AWKWARD }],
    ['position', { openedAt: { from: '2026-02-02T00:00:00.123451Z', to: '2026-02-05T00:00:00Z' } }],
    ['prediction', { exchange: 'okx', interval: '1h' }],
    ['prediction', { symbols: ['AUSDT'], signal: ['LONG', 'SHORT'] }],
    ['prediction', { modelVersions: [AWKWARD], minConfidence: 0.4 }],
    ['prediction', { resolved: true }],
    ['prediction', { resolved: false }],
    ['prediction', { predictedAt: { from: '2026-02-10T00:00:00Z', to: '2026-03-10T00:00:20Z' } }],
  ])('are those of the page of %ss: %o', async (kind, where) => {
    const ids = (await readPage(kind, where)).map((row) => row.id);
    expect((await readFrame(kind, 'id', { where })).id).toEqual(ids);
  });

  it('take the ids of positions and orders', async () => {
    const [first, second] = await readPage('trade', { symbols: ['FUSDT'] });
    const [orderId, positionId] = [idOf(first, 'order'), idOf(first, 'position')];
    const frame = await readFrame('trade', 'id orderId positionId', {
      where: { orderIds: [orderId], positionIds: [positionId] },
    });
    expect(frame.count).toBe(5);
    expect((frame.id as unknown[]).slice(0, 2)).toEqual([first?.id, second?.id]);
    expect(new Set(frame.orderId as unknown[])).toEqual(new Set([orderId]));
    expect(new Set(frame.positionId as unknown[])).toEqual(new Set([positionId]));
  });

  it('refuse the id of another kind', async () => {
    const { errors } = await server.request(
      '{ positionFrame(account: "main", where: { ids: ["trade.main.x"] }) { count } }',
    );
    expect(errors[0]?.extensions).toMatchObject({ code: 'BAD_INPUT', path: ['where', 'ids', '0'] });
  });
});

describe('the columns of horizons', () => {
  interface Horizon extends Row {
    readonly outcome: Row | null;
  }

  async function horizonRows(): Promise<readonly Row[]> {
    const predictions = await readPage('prediction', {}, `horizons { ${HORIZONS} }`);
    return predictions.flatMap(({ horizons, ...prediction }) =>
      (horizons as readonly Horizon[]).map(({ outcome, ...horizon }) => ({
        ...prediction,
        ...horizon,
        ...(outcome ?? { actualReturn: null, actualDirection: null, correct: null }),
      })),
    );
  }

  it('make it a row for each horizon, with its outcome', async () => {
    const rows = await horizonRows();
    expect(rows.map((row) => row.correct)).toEqual(expect.arrayContaining([true, false, null]));
    const columns = `id symbol price ${HORIZON_COLUMNS}`;
    const {
      count,
      truncated,
      asOfSeq: _asOfSeq,
      ...frame
    } = await readFrame('prediction', columns);
    expect(frame).toEqual(turned(rows, columns));
    expect({ count, truncated }).toEqual({ count: rows.length, truncated: false });
  });

  it('count horizons towards the limit, which may fall between those of one prediction', async () => {
    const rows = await horizonRows();
    for (let limit = 1; limit <= 7; limit += 1) {
      const frame = await readFrame('prediction', 'id horizonMinutes', { limit });
      const { id, horizonMinutes } = turned(rows.slice(-limit), 'id horizonMinutes');
      expect(frame).toMatchObject({ count: limit, truncated: true, id, horizonMinutes });
    }
  });

  it('are found by the filter of their predictions', async () => {
    const from = '2026-02-10T00:00:00Z';
    const frame = await readFrame('prediction', 'id horizonMinutes', {
      where: { predictedAt: { from }, symbols: ['BUSDT'] },
    });
    const expected = (await horizonRows()).filter(
      (row) => String(row.predictedAt) >= from && row.symbol === 'BUSDT',
    );
    expect(frame).toMatchObject(turned(expected, 'id horizonMinutes'));
  });
});

describe('candleFrame', () => {
  const COLUMNS = 'openTime open high low close volume';
  const SERIES = 'exchange: "bybit", symbol: "BTCUSDT", interval: "1h"';

  it.each([
    ['', 20],
    [', range: { from: "2026-01-15T05:00:00Z", to: "2026-01-15T09:00:00Z" }', 4],
    [', range: { from: "2027-01-15T05:00:00Z" }', 0],
  ])('has the candles of the list%s', async (range, count) => {
    const data = await server.data<{ candles: readonly Row[]; candleFrame: Row }>(
      `{ candles(${SERIES}${range}) { ${COLUMNS} } candleFrame(${SERIES}${range}) {
        count truncated ${COLUMNS} } }`,
    );
    expect(data.candles).toHaveLength(count);
    const columns = turned(data.candles, COLUMNS);
    expect(data.candleFrame).toEqual({ count, truncated: false, ...columns });
  });

  it('keeps the newest, and gives numbers when asked', async () => {
    const data = await server.data<{ candleFrame: Row }>(
      `{ candleFrame(${SERIES}, limit: 2, decimals: FLOAT) { count truncated openTime volume } }`,
    );
    expect(data.candleFrame).toEqual({
      count: 2,
      truncated: true,
      openTime: ['2026-01-15T18:00:00.000000Z', '2026-01-15T19:00:00.000000Z'],
      volume: [18, 19],
    });
  });
});

describe('what a frame shows', () => {
  it('is chosen through aliases, fragments and directives', async () => {
    const { tradeFrame, ...none } = await server.data<Record<string, Row>>(
      `query ($no: Boolean = false, $yes: Boolean!) {
        tradeFrame(account: "main") {
          a: price ...Other ... on TradeFrame { b: price @include(if: $yes) }
          quantity @skip(if: $yes) side @include(if: $no) __typename
        }
      }
      fragment Other on TradeFrame { count symbol ...Deeper }
      fragment Deeper on TradeFrame { commission }`,
      { yes: true },
    );
    const rows = await readPage('trade');
    const { price, symbol, commission } = turned(rows, 'price symbol commission');
    expect(tradeFrame).toEqual({
      __typename: 'TradeFrame',
      count: rows.length,
      a: price,
      b: price,
      symbol,
      commission,
    });
    expect(none).toEqual({});
  });

  it('may be its length alone', async () => {
    const data = await server.data<Row>(
      '{ few: positionFrame(account: "main", limit: 3) { count truncated } }',
    );
    expect(data).toEqual({ few: { count: 3, truncated: true } });
  });

  it('is one chunk in the analytics lane while there are few rows', async () => {
    const runs: StatementRun[] = [];
    const { statistics } = server.tradewind.database;
    const { record } = statistics;
    const watched = (run: StatementRun) => {
      runs.push(run);
      record(run);
    };
    Object.assign(statistics, { record: watched });
    await readFrame('prediction', `${FRAMES.prediction.columns} ${HORIZON_COLUMNS}`);
    Object.assign(statistics, { record });
    expect(runs.map(({ name, lane }) => [name, lane])).toEqual([
      ['transaction.begin', 'analytics'],
      ['frames.findChunks', 'analytics'],
      ['frames.readPredictions', 'analytics'],
      ['frames.fetch', 'analytics'],
      ['transaction.commit', 'analytics'],
    ]);
  });

  it('fails as a whole and leaves the other fields', async () => {
    const answer = await server.request<Row>(
      '{ tradeFrame(account: "main", limit: 0) { price side } positionFrame(account: "main") { count } }',
    );
    expect(answer.data).toEqual({ tradeFrame: null, positionFrame: { count: expect.any(Number) } });
    expect(answer.errors).toHaveLength(1);
    expect(answer.errors[0]).toMatchObject({ path: ['tradeFrame'] });
  });
});

describe('who may read a frame', () => {
  it.each(['predictionFrame', 'tradeFrame', 'positionFrame'])(
    '%s is of the key’s accounts',
    async (field) => {
      const { token } = await server.issueKey('VIEWER', ['other']);
      const refused = await server.request(
        `{ ${field}(account: "main") { count } }`,
        {},
        { key: token },
      );
      expect(refused.errors[0]?.extensions.code).toBe('FORBIDDEN');
      const missing = await server.request(`{ ${field} { count } }`, {}, { key: token });
      expect(missing.errors[0]?.extensions).toMatchObject({ code: 'NOT_FOUND', path: ['account'] });
    },
  );
});
