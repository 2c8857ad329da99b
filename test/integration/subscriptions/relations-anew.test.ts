import { expect, it } from 'vitest';
import { openOne, predict, update } from '../../support/documents.ts';
import { type LiveStream, useLive } from '../../support/live.ts';
import { openItem, predictionItem } from '../../support/make.ts';
import { amend, fillItem, placeOne, recordOne } from '../../support/trading.ts';

const live = useLive();

/** A relation that every change of the account moves. */
const HEAD = 'account { headSeq }';

const KINDS = [
  {
    name: 'positionChanges',
    query: `subscription ($account: ID) {
      positionChanges(account: $account) { kind seq previousSeq cursor position { id ${HEAD} } } }`,
    async change() {
      const { id } = await openOne(live.server, openItem(), { account: live.account });
      return () => update(live.server, [{ id, metadata: {} }], { account: live.account });
    },
  },
  {
    name: 'orderChanges',
    query: `subscription ($account: ID) {
      orderChanges(account: $account) { kind seq previousSeq cursor order { id ${HEAD} } } }`,
    async change() {
      const { id } = await placeOne(live.server, {}, { account: live.account });
      return () => amend(live.server, [{ id, status: 'OPEN' }], { account: live.account });
    },
  },
  {
    name: 'tradeExecutions',
    query: `subscription ($account: ID) {
      tradeExecutions(account: $account) { kind seq previousSeq cursor trade { id ${HEAD} } } }`,
    async change() {
      const { clientOrderId } = await placeOne(live.server, {}, { account: live.account });
      const fill = () => recordOne(live.server, fillItem(clientOrderId), { account: live.account });
      await fill();
      return fill;
    },
  },
  {
    name: 'predictionsLogged',
    query: `subscription ($account: ID) {
      predictionsLogged(account: $account) { kind seq previousSeq cursor predictions { id ${HEAD} } } }`,
    async change() {
      const log = () => predict(live.server, [predictionItem()], { account: live.account });
      await log();
      return log;
    },
  },
] as const;

/** The head of the account as the next event has it, and its own row with it. */
async function headOf(stream: LiveStream): Promise<string | undefined> {
  const text = JSON.stringify(await stream.next());
  return /"headSeq":"(\d+)"/.exec(text)?.[1];
}

async function head(): Promise<string | undefined> {
  const [row] = await live.server.sql`
    select seq::text from account_heads where account_id = ${live.account}`;
  return row?.seq as string | undefined;
}

it.each(KINDS)('$name reads relations anew for each event', async ({ query, change }) => {
  const [stream] = await live.begin(query);
  const again = await change();
  expect(await headOf(stream)).toBe(await head());
  await again();
  expect(await headOf(stream)).toBe(await head());
});

it('shows in each event the trades that its position has by then', async () => {
  const [stream] = await live.begin(`subscription ($account: ID) {
    positionChanges(account: $account) {
      kind seq previousSeq cursor position { quantity trades { id } orders { status } } } }`);
  const { clientOrderId } = await placeOne(
    live.server,
    { quantity: '2' },
    { account: live.account },
  );
  for (const [trades, status] of [
    [1, 'PARTIALLY_FILLED'],
    [2, 'FILLED'],
  ] as const) {
    await recordOne(live.server, fillItem(clientOrderId), { account: live.account });
    const { position } = await stream.next();
    expect(position).toMatchObject({ quantity: String(trades), orders: [{ status }] });
    expect((position as { readonly trades: readonly object[] }).trades).toHaveLength(trades);
  }
});
