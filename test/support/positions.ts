import { uuidOf } from '../../datasources/id.ts';
import { instantOf } from '../../datasources/instant.ts';
import type { Position } from '../../datasources/position.ts';

let made = 0;

/** An open position like no other. */
export function makePosition(changes: Partial<Position> = {}): Position {
  made += 1;
  const at = instantOf(Date.now());
  return {
    accountId: 'main',
    id: uuidOf(Date.now()),
    exchange: 'bybit',
    symbol: `SYMBOL${made}`,
    side: 'LONG',
    status: 'OPEN',
    quantity: '1',
    entryPrice: '100',
    stopLossPrice: null,
    takeProfitPrice: null,
    leverage: '1',
    realizedPnl: '0',
    fees: '0',
    strategy: null,
    closeReason: null,
    stopTriggeredAt: null,
    stopTriggeredKind: null,
    metadata: null,
    openedAt: at,
    updatedAt: at,
    closedAt: null,
    version: 1,
    hasFills: false,
    ...changes,
  };
}

/** The next version of a position. */
export function next(before: Position, changes: Partial<Position> = {}): Position {
  return { ...before, version: before.version + 1, ...changes };
}

/** The next version of a position, closed. */
export function closedOf(before: Position): Position {
  return next(before, { status: 'CLOSED', quantity: '0', closedAt: instantOf(Date.now()) });
}
