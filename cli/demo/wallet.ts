import { Decimal } from 'decimal.js';
import { toAmount } from '../../datasources/decimal.ts';
import type { Client } from './client.ts';
import { LIST_BALANCES, type ListBalancesData } from './documents.ts';
import type { BalanceItem } from './inputs.ts';
import type { HeldPosition } from './strategy.ts';

/** What the demo's account has: what it had before, with the profits and fees of this run. */
export interface Wallet {
  balance(
    held: Iterable<HeldPosition>,
    totals: { readonly realizedPnl: Decimal; readonly fees: Decimal },
  ): BalanceItem;
}

export const WALLET_ASSET = 'USDT';
const EXCHANGE = 'bybit';
const START = '100000';

/** The wallet that an earlier run has left, or a new one. */
export async function openWallet(client: Client, account: string): Promise<Wallet> {
  const { balances } = await client.request<ListBalancesData>(LIST_BALANCES, {
    account,
    exchange: EXCHANGE,
  });
  return createWallet(balances?.find(({ asset }) => asset === WALLET_ASSET)?.total ?? START);
}

export function createWallet(start: string): Wallet {
  return {
    balance(held, { realizedPnl, fees }) {
      let locked = new Decimal(0);
      for (const { entryPrice, quantity, leverage } of held) {
        locked = locked.plus(new Decimal(entryPrice).times(quantity).div(leverage));
      }
      locked = locked.toDecimalPlaces(8);
      const free = new Decimal(start).plus(realizedPnl).minus(fees).minus(locked);
      return {
        exchange: EXCHANGE,
        asset: WALLET_ASSET,
        free: toAmount(free),
        locked: toAmount(locked),
      };
    },
  };
}
