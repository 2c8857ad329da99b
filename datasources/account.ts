import type { TradingState } from './change-recorder.ts';
import type { Sql } from './sql.ts';
import { AppError } from '../errors.ts';

export interface Account {
  readonly id: string;
  readonly name: string;
  readonly hedgeMode: boolean;
  readonly tradingState: TradingState;
  /** The last seq of the account's log, before the unit of work that asks. */
  readonly headSeq: string;
  readonly createdAt: string;
}

export type AccountRepository = ReturnType<typeof createAccountRepository>;

export function createAccountRepository(sql: Sql) {
  async function findByIds(ids: readonly string[]): Promise<readonly (Account | null)[]> {
    const rows = await sql<Account>`
      /* accounts.findByIds */
      select a.id, a.name, a.hedge_mode, h.trading_state, h.seq as head_seq, a.created_at
      from accounts a join account_heads h on h.account_id = a.id
      where a.id = any(${ids}::text[])`;
    const byId = new Map(rows.map((row) => [row.id, row]));
    return ids.map((id) => byId.get(id) ?? null);
  }

  return {
    /** Rows in the order of `ids`; null where there is none. */
    findByIds,

    /** @throws AppError NOT_FOUND */
    async get(accountId: string): Promise<Account> {
      const [account] = await findByIds([accountId]);
      if (!account) {
        throw new AppError('NOT_FOUND', `There is no account ${JSON.stringify(accountId)}.`, {
          path: ['account'],
        });
      }
      return account;
    },

    /** The ids of all accounts but the reserved one, in order. */
    async listIds(): Promise<readonly string[]> {
      const rows = await sql<{ id: string }>`
        /* accounts.listIds */
        select id from accounts where id <> '_system' order by id`;
      return rows.map((row) => row.id);
    },
  };
}
