import type { ChangeRecorder, TradingState } from './change-recorder.ts';
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

export type NewAccount = Pick<Account, 'id' | 'name' | 'hedgeMode'>;

/** Its log has what belongs to no account: keys, accounts, market data. */
export const SYSTEM_ACCOUNT = '_system';

export function createAccountRepository(sql: Sql, recorder: ChangeRecorder) {
  async function findByIds(ids: readonly string[]): Promise<readonly (Account | null)[]> {
    const rows = await sql<Account>`
      /* accounts.findByIds */
      select a.id, a.name, a.hedge_mode, h.trading_state, h.seq as head_seq, a.created_at
      from accounts a join account_heads h on h.account_id = a.id
      where a.id = any(${ids}::text[])`;
    const byId = new Map(rows.map((row) => [row.id, row]));
    return ids.map((id) => {
      const row = byId.get(id);
      return row === undefined
        ? null
        : { ...row, tradingState: recorder.ownTradingState(id) ?? row.tradingState };
    });
  }

  /** @throws AppError NOT_FOUND */
  async function get(accountId: string): Promise<Account> {
    const [account] = await findByIds([accountId]);
    if (!account) {
      throw new AppError('NOT_FOUND', `There is no account ${JSON.stringify(accountId)}.`, {
        path: ['account'],
      });
    }
    return account;
  }

  return {
    /** Rows in the order of `ids`; null where there is none. */
    findByIds,

    /** @throws AppError NOT_FOUND */
    get,

    /** The ids of all accounts but the reserved one, in order. */
    async listIds(): Promise<readonly string[]> {
      const rows = await sql<{ id: string }>`
        /* accounts.listIds */
        select id from accounts where id <> ${SYSTEM_ACCOUNT} order by id`;
      return rows.map((row) => row.id);
    },

    /**
     * Adds an account with the head of its log and records it in that of the system; false where
     * the id is taken.
     */
    async insert({ id, name, hedgeMode }: NewAccount): Promise<boolean> {
      const rows = await sql`
        /* accounts.insert */
        with created as (
          insert into accounts (id, name, hedge_mode, created_at)
          values (${id}, ${name}, ${hedgeMode}, ${recorder.at})
          on conflict do nothing returning id)
        insert into account_heads (account_id, at) select id, ${recorder.at} from created`;
      if (rows.count === 0) return false;
      recorder.record({
        accountId: SYSTEM_ACCOUNT,
        entity: 'account',
        operation: 'INSERT',
        ids: [id],
        before: null,
        after: { id, name, hedgeMode, createdAt: recorder.at },
      });
      return true;
    },

    /**
     * Sets the trading state with the commit and records it with its reason in the account's log;
     * the account as it is then. Later fields of the same operation see it already.
     *
     * @throws AppError NOT_FOUND
     */
    async setTradingState(
      accountId: string,
      tradingState: TradingState,
      reason: string,
    ): Promise<Account> {
      const account = await get(accountId);
      recorder.expectTradingState(accountId, account.tradingState);
      recorder.setTradingState(accountId, tradingState);
      if (account.tradingState !== tradingState) {
        recorder.record({
          accountId,
          entity: 'account',
          operation: 'UPDATE',
          ids: [accountId],
          before: { id: accountId, tradingState: account.tradingState },
          after: { id: accountId, tradingState, reason },
        });
      }
      return { ...account, tradingState };
    },
  };
}
