import { requireAccount } from '../access.ts';
import type { Context } from '../context.ts';
import type {
  NewOrder,
  OrderType,
  PlacingRules,
  Registration,
  TimeInForce,
} from '../datasources/order.ts';
import type { PositionSide } from '../datasources/position.ts';
import type { OrderSide } from '../datasources/trade.ts';
import type { BatchMode } from '../datasources/unit-of-work.ts';
import { AppError } from '../errors.ts';
import {
  acceptedOf,
  assertAccepted,
  assertUnique,
  enterBatch,
  examine,
  hashItem,
  ItemRefusal,
  payload,
} from './batch.ts';
import {
  assertExchange,
  assertJson,
  assertLeverage,
  assertPositive,
  assertSymbol,
  assertText,
  timeOf,
} from './check.ts';
import {
  assertOnGrid,
  CLIENT_ORDER_ID_LENGTH_MAX,
  idsInOrder,
  needsPrice,
  needsStopPrice,
  type OrderResult,
  type OrdersPayload,
  refusedOrder,
} from './order.ts';
import { instrumentOf, isGiven, readMarks } from './position.ts';
import { assertStops } from './stop.ts';

export interface PlaceOrderItem {
  readonly clientOrderId: string;
  readonly exchange: string;
  readonly symbol: string;
  readonly side: OrderSide;
  readonly type: OrderType;
  readonly quantity: string;
  readonly price?: string | null;
  readonly stopPrice?: string | null;
  readonly timeInForce?: TimeInForce | null;
  readonly expiresAt?: string | null;
  readonly trailBy?: string | null;
  readonly stopLossPrice?: string | null;
  readonly takeProfitPrice?: string | null;
  readonly leverage?: string | null;
  readonly reduceOnly?: boolean | null;
  readonly positionSide?: PositionSide | null;
  readonly strategy?: string | null;
  readonly metadata?: unknown;
}

/** An item that is right by itself, with its defaults: what its hash is of. */
type Content = Required<Omit<PlaceOrderItem, 'timeInForce' | 'leverage' | 'reduceOnly'>> & {
  readonly timeInForce: TimeInForce;
  readonly leverage: string;
  readonly reduceOnly: boolean;
};

/**
 * Places orders: each is stored as PENDING. One result per item, in input order. An item whose
 * clientOrderId was used before is REPLAYED when it is the same, CONFLICT when it differs.
 * Of several faults the first counts: REJECTED for the item itself, REPLAYED, CONFLICT, REJECTED
 * for the account's mode, its trading state or the instrument, then CREATED.
 *
 * @throws AppError BATCH_TOO_LARGE, BATCH_REJECTED, BAD_INPUT, FORBIDDEN, NOT_FOUND (the account)
 */
export async function placeOrders(
  context: Context,
  input: { account?: string | null; mode?: BatchMode | null; items: readonly PlaceOrderItem[] },
): Promise<OrdersPayload> {
  const accountId = requireAccount(context.actor, input.account, 'orders:write');
  const { unit, mode } = enterBatch(context.unit, input.mode, input.items);
  const { orders } = context.datasources;
  const seen = new Set<string>();
  const checked = input.items.map((item) => examine(() => check(item, seen)));
  const accepted = acceptedOf(checked);
  const [judge, before] = await Promise.all([
    readJudge(context, accountId, accepted),
    accepted.length === 0
      ? []
      : orders.findByClientOrderIds(
          accountId,
          accepted.map((one) => one.clientOrderId),
        ),
  ]);
  const known = new Map(before.map((row) => [row.clientOrderId, row]));
  const ids = idsInOrder(checked.map(() => timeOf(unit.at)));
  const created: NewOrder[] = [];
  const results = checked.map((one, index): OrderResult => {
    if (one instanceof ItemRefusal) return refusedOrder(index, one, null);
    const earlier = known.get(one.clientOrderId);
    if (earlier !== undefined) return met(index, one, earlier);
    const order = examine(() => newOrder(accountId, ids[index] ?? '', one, judge, unit.at));
    if (order instanceof ItemRefusal) return refusedOrder(index, order, null);
    created.push(order);
    return { index, status: 'CREATED', order, error: null };
  });
  assertAccepted(mode, results);
  if (created.length > 0) {
    await orders.insertMany(accountId, created);
    unit.expectTradingState(accountId, judge.rules.tradingState);
  }
  return payload(results);
}

/** What an item gets whose clientOrderId is used already. */
function met(index: number, content: Content, known: NewOrder): OrderResult {
  if (known.itemHash === hashItem(content)) {
    return { index, status: 'REPLAYED', order: known, error: null };
  }
  const message = `The clientOrderId ${content.clientOrderId} placed another order.`;
  const refusal = new ItemRefusal('CONFLICT', 'CLIENT_ID_REUSED', message, ['clientOrderId']);
  return refusedOrder(index, refusal, known);
}

function check(item: PlaceOrderItem, seen: Set<string>): Content {
  assertText(item.clientOrderId, ['clientOrderId'], CLIENT_ORDER_ID_LENGTH_MAX);
  assertUnique(seen, item.clientOrderId, ['clientOrderId']);
  assertExchange(item.exchange);
  assertSymbol(item.symbol);
  const { quantity, price, stopPrice, trailBy, stopLossPrice, takeProfitPrice } = item;
  const amounts = { quantity, price, stopPrice, trailBy, stopLossPrice, takeProfitPrice };
  for (const [name, amount] of Object.entries(amounts)) {
    if (isGiven(amount)) assertPositive(amount, [name]);
  }
  const leverage = item.leverage ?? '1';
  assertLeverage(leverage);
  assertText(item.strategy, ['strategy']);
  assertJson(item.metadata, ['metadata']);
  const timeInForce = item.timeInForce ?? 'GTC';
  assertType(item, timeInForce);
  return {
    clientOrderId: item.clientOrderId,
    exchange: item.exchange,
    symbol: item.symbol,
    side: item.side,
    type: item.type,
    quantity,
    price: price ?? null,
    stopPrice: stopPrice ?? null,
    timeInForce,
    expiresAt: item.expiresAt ?? null,
    trailBy: trailBy ?? null,
    stopLossPrice: stopLossPrice ?? null,
    takeProfitPrice: takeProfitPrice ?? null,
    leverage,
    reduceOnly: item.reduceOnly ?? false,
    positionSide: item.positionSide ?? null,
    strategy: item.strategy ?? null,
    metadata: item.metadata ?? null,
  };
}

/** @throws AppError BAD_INPUT where a type lacks what it needs, or has what it would ignore */
function assertType(item: PlaceOrderItem, timeInForce: TimeInForce): void {
  const { type } = item;
  const isTrailing = type === 'TRAILING_STOP';
  const rules: readonly (readonly [boolean, string, string])[] = [
    [needsPrice(type) && !isGiven(item.price), 'price', `A ${type} order needs a price.`],
    [
      needsStopPrice(type) && !isGiven(item.stopPrice),
      'stopPrice',
      `A ${type} order needs a stopPrice.`,
    ],
    [
      (type === 'MARKET' || type === 'LIMIT') && isGiven(item.stopPrice),
      'stopPrice',
      `A ${type} order has no stopPrice.`,
    ],
    [isTrailing && !isGiven(item.trailBy), 'trailBy', 'A TRAILING_STOP order needs trailBy.'],
    [!isTrailing && isGiven(item.trailBy), 'trailBy', `A ${type} order has no trailBy.`],
    [
      (timeInForce === 'GTD') !== isGiven(item.expiresAt),
      'expiresAt',
      'expiresAt belongs to timeInForce GTD, which needs it.',
    ],
    [
      timeInForce === 'GTX' && !needsPrice(type),
      'timeInForce',
      `GTX (post only) needs an order with a limit price, not ${type}.`,
    ],
  ];
  for (const [isBroken, name, message] of rules) {
    if (isBroken) throw new AppError('BAD_INPUT', message, { path: [name] });
  }
}

/** What items are judged by beside themselves. */
interface Judge {
  readonly rules: PlacingRules;
  readonly registrations: ReadonlyMap<string, Registration>;
  readonly marks: ReadonlyMap<string, string>;
}

async function readJudge(
  context: Context,
  accountId: string,
  items: readonly Content[],
): Promise<Judge> {
  const instruments = new Map(items.map((item) => [instrumentOf(item), item]));
  const rules = await context.datasources.orders.findPlacingRules(accountId, [
    ...instruments.values(),
  ]);
  if (rules === null) {
    throw new AppError('NOT_FOUND', `There is no account ${JSON.stringify(accountId)}.`, {
      path: ['account'],
    });
  }
  // The price of an order at market is not known before it is filled.
  const atMarket = items.filter(
    (item) =>
      isGiven(item.stopLossPrice ?? item.takeProfitPrice) && !isGiven(item.price ?? item.stopPrice),
  );
  return {
    rules,
    registrations: new Map(rules.registrations.map((one) => [instrumentOf(one), one])),
    marks: await readMarks(context, accountId, atMarket),
  };
}

/** The order of an item. @throws ItemRefusal, AppError BAD_INPUT */
function newOrder(
  accountId: string,
  id: string,
  content: Content,
  { rules, registrations, marks }: Judge,
  at: string,
): NewOrder {
  const positionSide = positionSideOf(content, rules.hedgeMode);
  const isReducing = content.reduceOnly || positionSide !== directionOf(content.side);
  assertTradingState(rules, isReducing);
  if (content.expiresAt !== null && content.expiresAt <= at) {
    throw new AppError('BAD_INPUT', `${content.expiresAt} is over.`, { path: ['expiresAt'] });
  }
  assertOnGrid(registrations.get(instrumentOf(content)), content);
  const price = content.price ?? content.stopPrice ?? marks.get(instrumentOf(content));
  // Without any price the fill decides, and drops what cannot stand.
  if (!isReducing && price !== undefined) assertStops(positionSide, content, price);
  return {
    accountId,
    id,
    ...content,
    status: 'PENDING',
    filledQuantity: '0',
    averagePrice: null,
    positionSide,
    exchangeOrderId: null,
    reason: null,
    createdAt: at,
    updatedAt: at,
    closedAt: null,
    version: 1,
    positionId: null,
    itemHash: hashItem(content),
  };
}

function directionOf(side: OrderSide): PositionSide {
  return side === 'BUY' ? 'LONG' : 'SHORT';
}

/**
 * One-way: LONG for BUY, SHORT for SELL, inverted when it only reduces. Hedged: as given.
 *
 * @throws AppError BAD_INPUT where it is missing or cannot be
 */
function positionSideOf(content: Content, hedgeMode: boolean): PositionSide {
  const { side, reduceOnly, positionSide } = content;
  const path = ['positionSide'];
  const direction = directionOf(side);
  const opposite = direction === 'LONG' ? 'SHORT' : 'LONG';
  if (!hedgeMode) {
    const derived = reduceOnly ? opposite : direction;
    if (positionSide === null || positionSide === derived) return derived;
    const what = `A ${side} order ${reduceOnly ? 'that only reduces ' : ''}is of ${derived}`;
    throw new AppError('BAD_INPUT', `${what} in a one-way account.`, { path });
  }
  if (positionSide === null) {
    throw new AppError('BAD_INPUT', 'In a hedge account an order needs a positionSide.', { path });
  }
  if (reduceOnly && positionSide === direction) {
    throw new AppError('BAD_INPUT', `A ${side} order does not reduce a ${direction} position.`, {
      path,
    });
  }
  return positionSide;
}

/** @throws ItemRefusal TRADING_HALTED, or TRADING_REDUCING unless the order only reduces */
function assertTradingState({ tradingState }: PlacingRules, isReducing: boolean): void {
  if (tradingState === 'ACTIVE' || (tradingState === 'REDUCING' && isReducing)) return;
  throw new ItemRefusal(
    'REJECTED',
    tradingState === 'HALTED' ? 'TRADING_HALTED' : 'TRADING_REDUCING',
    `The account is ${tradingState}: it places no ${tradingState === 'HALTED' ? '' : 'such '}order.`,
  );
}
