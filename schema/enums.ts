import { builder } from './builder.ts';

export const OrderSide = builder.enumType('OrderSide', { values: ['BUY', 'SELL'] as const });
export const OrderType = builder.enumType('OrderType', {
  values: [
    'MARKET',
    'LIMIT',
    'STOP_MARKET',
    'STOP_LIMIT',
    'TAKE_PROFIT_MARKET',
    'TAKE_PROFIT_LIMIT',
    'TRAILING_STOP',
  ] as const,
});
export const TimeInForce = builder.enumType('TimeInForce', {
  values: {
    GTC: { description: 'Until it is canceled.' },
    IOC: { description: 'What fills at once; the rest is canceled.' },
    FOK: { description: 'All of it at once, or nothing.' },
    GTX: { description: 'Post only: canceled if it would fill at once.' },
    GTD: { description: 'Until expiresAt.' },
  } as const,
});
export const OrderStatus = builder.enumType('OrderStatus', {
  values: {
    PENDING: { description: 'Stored here; the exchange has not said anything yet.' },
    OPEN: { description: 'The exchange has accepted it.' },
    PARTIALLY_FILLED: {},
    FILLED: {},
    CANCELED: { description: 'A late fill is booked all the same.' },
    REJECTED: { description: 'The exchange refused it: it has no fills.' },
    EXPIRED: { description: 'A late fill is booked all the same.' },
  } as const,
});
export const PositionSide = builder.enumType('PositionSide', {
  values: ['LONG', 'SHORT'] as const,
});
export const PositionStatus = builder.enumType('PositionStatus', {
  values: {
    OPEN: { description: 'Some quantity is open.' },
    CLOSED: { description: 'Nothing is open any more.' },
    LIQUIDATED: { description: 'Closed by the exchange.' },
  } as const,
});
export const StopKind = builder.enumType('StopKind', {
  values: ['STOP_LOSS', 'TAKE_PROFIT'] as const,
});
export const Direction = builder.enumType('Direction', {
  values: ['LONG', 'SHORT', 'NEUTRAL'] as const,
});
export const SignalType = builder.enumType('SignalType', {
  values: ['LONG', 'SHORT', 'CLOSE_LONG', 'CLOSE_SHORT', 'NEUTRAL'] as const,
});
export const SignalStatus = builder.enumType('SignalStatus', {
  values: {
    ACTIVE: { description: 'Nobody has acted on it yet.' },
    PROCESSED: { description: 'Somebody has.' },
    EXPIRED: { description: 'Its time was over first; set within a minute of expiresAt.' },
  } as const,
});
export const SortDirection = builder.enumType('SortDirection', {
  values: ['ASC', 'DESC'] as const,
});
export const TradingState = builder.enumType('TradingState', {
  description: 'What new risk an account may take.',
  values: {
    ACTIVE: { description: 'Everything is allowed.' },
    REDUCING: { description: 'Only what reduces positions.' },
    HALTED: { description: 'No orders and no new positions. Fills are booked all the same.' },
  } as const,
});
export const Role = builder.enumType('Role', {
  values: ['VIEWER', 'ANALYST', 'BOT', 'OPERATOR', 'ADMIN'] as const,
});
export const ChangeOperation = builder.enumType('ChangeOperation', {
  values: {
    INSERT: {},
    UPDATE: {},
    DELETE: {},
    MARK: { description: 'New prices; the rows themselves are as they were.' },
    DENIED: { description: 'Refused attempts, summed.' },
  } as const,
});
export const EventKind = builder.enumType('EventKind', {
  values: {
    SNAPSHOT: { description: 'A row as it is when the stream begins.' },
    CAUGHT_UP: { description: 'Everything up to this seq was sent; what follows is live.' },
    CHANGE: { description: 'A committed change.' },
    LEFT: { description: 'The row matched before this change and no longer does.' },
    HEARTBEAT: {
      description:
        'Everything up to this seq was told: the head of the log, or, while events are held back ' +
        'by minIntervalMs or older changes are read, where those begin.',
    },
    RESET: { description: 'The changes after the cursor are gone: read the state anew.' },
  } as const,
});
export const BatchMode = builder.enumType('BatchMode', {
  values: {
    ATOMIC: { description: 'One refused item refuses the operation: BATCH_REJECTED.' },
    PER_ITEM: { description: 'What can be stored is; the results say which.' },
    VALIDATE_ONLY: {
      description:
        'The same answers, nothing stored, no key kept. It must be the mode of every field.',
    },
  } as const,
});
export const ItemStatus = builder.enumType('ItemStatus', {
  values: {
    CREATED: {},
    UPDATED: {},
    UNCHANGED: { description: 'The row was like this already.' },
    REPLAYED: { description: 'The same item was stored before.' },
    CONFLICT: { description: 'The row is in another state or version; it comes along.' },
    NOT_FOUND: {},
    REJECTED: { description: 'The item itself is at fault.' },
    NOT_ATTEMPTED: { description: 'Another item refused the batch.' },
  } as const,
});
