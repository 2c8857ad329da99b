import { close, open, predict } from './documents.ts';
import { candleItem, horizonItem, many, openItem, predictionItem } from './make.ts';
import type { TestServer } from './server.ts';
import { fillItem, orderItem, place, record } from './trading.ts';

/** What JSON and CSV have to quote. */
export const AWKWARD = 'Żółw, "quoted"; 1\\2 \u2028';

const SYMBOLS = ['AUSDT', 'BUSDT', 'CUSDT'];

/** Of the fifth and sixth the profit at the mark lies halfway between two amounts. */
const ENTRIES = [
  '100.000000000000000007',
  '101.000000000000000007',
  '102',
  '103.25',
  '97.5',
  '96.500000000000000002',
];

const OUTCOMES = `mutation ($input: RecordOutcomesInput!) {
  recordOutcomes(input: $input) { resolved }
}`;
const MARKS = `mutation ($input: MarkPricesInput!) { markPrices(input: $input) { updated } }`;
const CANDLES = `mutation ($input: IngestCandlesInput!) { ingestCandles(input: $input) { created } }`;

/** Rows of each kind with every column set somewhere, and null somewhere where it may be. */
export async function makeMarketRows(server: TestServer): Promise<void> {
  await makePredictions(server);
  await makePositions(server);
  await makeFills(server);
  await server.data(CANDLES, {
    input: {
      items: many(20, (place) =>
        candleItem({
          openTime: `2026-01-15T${String(place).padStart(2, '0')}:00:00Z`,
          interval: '1h',
          volume: `${place}.000000000000000001`,
        }),
      ),
    },
  });
}

async function makePredictions(server: TestServer): Promise<void> {
  const { results } = await predict(
    server,
    many(30, (place) =>
      predictionItem({
        symbol: SYMBOLS[place % 3],
        exchange: place % 2 === 0 ? 'bybit' : 'okx',
        interval: place % 5 === 0 ? '1h' : '15m',
        modelVersion: place % 4 === 0 ? AWKWARD : 'plain-1',
        predictedAt: `2026-0${1 + (place % 3)}-10T00:00:${String(place).padStart(2, '0')}.00000${place % 10}Z`,
        signal: ['LONG', 'SHORT', 'NEUTRAL'][place % 3],
        signalConfidence: place / 30,
        price: place % 6 === 0 ? null : `${place}12345678.000000000000000001`,
        riskScore: place % 2 === 0 ? null : 0.1 + place / 1e9,
        inferenceTimeMs: place % 3 === 0 ? null : place * 1e-7,
        features: [1, 2, 3],
        horizons: many(place % 4, (index) =>
          horizonItem(15 * 4 ** index, {
            direction: index === 0 ? 'SHORT' : 'LONG',
            predictedReturn: index === 1 ? null : -0.001 * place,
          }),
        ),
      }),
    ),
  );
  await server.data(OUTCOMES, {
    input: {
      account: 'main',
      items: results
        .filter(({ index }) => index % 4 === 2)
        .flatMap(({ id }) =>
          [15, 60].map((horizonMinutes) => ({
            predictionId: id,
            horizonMinutes,
            actualReturn: horizonMinutes === 15 ? -0.01 : 0.0001,
          })),
        ),
    },
  });
}

async function makePositions(server: TestServer): Promise<void> {
  const { results } = await open(
    server,
    many(8, (place) =>
      openItem({
        side: place % 2 === 0 ? 'LONG' : 'SHORT',
        symbol: `P${place}USDT`,
        exchange: place % 3 === 0 ? 'okx' : 'bybit',
        quantity: place > 3 ? '0.5' : '0.333333333333333333',
        entryPrice: ENTRIES[place] ?? '100',
        strategy: place % 2 === 0 ? AWKWARD : null,
        openedAt: `2026-02-0${place + 1}T00:00:00.12345${place}Z`,
      }),
    ),
  );
  await close(server, [{ id: results[0]?.position?.id, price: '90.5', fees: '0.25' }]);
  await close(server, [{ id: results[1]?.position?.id, price: '120', quantity: '0.1' }]);
  await server.data(MARKS, {
    input: {
      account: 'main',
      // Not of the last two; the first is closed.
      items: many(6, (place) => ({
        exchange: place % 3 === 0 ? 'okx' : 'bybit',
        symbol: `P${place}USDT`,
        price: `${101 - place}.500000000000000003`,
      })),
    },
  });
}

async function makeFills(server: TestServer): Promise<void> {
  const { results } = await place(server, [
    orderItem({ symbol: 'FUSDT', quantity: '50', strategy: AWKWARD }),
    orderItem({ symbol: 'GUSDT', quantity: '50', side: 'SELL' }),
  ]);
  await record(
    server,
    many(10, (index) =>
      fillItem(results[index % 2]?.order?.clientOrderId ?? '', {
        quantity: `0.${index + 1}`,
        price: `${100 + index}.000000000000000001`,
        commission: index % 2 === 0 ? '-0.125' : '0.000000000000000001',
        executedAt: `2026-02-01T00:00:0${index}.00000${index}Z`,
      }),
    ),
  );
}
