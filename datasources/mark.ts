import type { ChangeRecorder } from './change-recorder.ts';
import { columns, type Position, type StopKind } from './position.ts';
import { fragment, type Sql } from './sql.ts';

/** The newest price of an instrument as an account saw it. */
export interface Mark {
  readonly exchange: string;
  readonly symbol: string;
  readonly price: string;
  readonly at: string;
}

/** A stop that a mark has crossed: the position as it is now, and the price that did it. */
export interface StopTrigger {
  readonly position: Position;
  readonly kind: StopKind;
  readonly price: string;
}

export type MarkRepository = ReturnType<typeof createMarkRepository>;

export function createMarkRepository(sql: Sql, recorder: ChangeRecorder) {
  return {
    /** The mark of each of these instruments that has one, in no order. */
    async find(
      accountId: string,
      instruments: readonly { readonly exchange: string; readonly symbol: string }[],
    ): Promise<readonly Mark[]> {
      return sql<Mark>`
        /* marks.find */
        select exchange, symbol, trim_scale(price) as price, at from marks
        where account_id = ${accountId} and (exchange, symbol) in (
          select * from unnest(
            ${instruments.map((one) => one.exchange)}::text[],
            ${instruments.map((one) => one.symbol)}::text[]))`;
    },

    /**
     * Stores the marks that are newer than those there, in one statement, and records them as one
     * change. Those stored, in no order; an instrument is named at most once.
     */
    async upsertMany(accountId: string, marks: readonly Mark[]): Promise<readonly Mark[]> {
      const stored = await sql<Mark>`
        /* marks.upsertMany */
        insert into marks as m (account_id, exchange, symbol, price, at)
        select ${accountId}, i.exchange, i.symbol, i.price, i.at
        from json_to_recordset(${JSON.stringify(marks)}::text::json) as i (
          exchange text, symbol text, price numeric, at timestamptz)
        order by i.exchange, i.symbol
        on conflict (account_id, exchange, symbol) do update
        set price = excluded.price, at = excluded.at
        where excluded.at > m.at
        returning exchange, symbol, trim_scale(price) as price, at`;
      if (stored.length > 0) {
        recorder.record({
          accountId,
          entity: 'mark',
          operation: 'MARK',
          ids: stored.map(({ exchange, symbol }) => `${exchange} ${symbol}`),
          before: null,
          after: [...stored],
        });
      }
      return stored;
    },

    /**
     * Marks each stop of an open position that one of these prices has crossed, unless it was
     * marked before, and records it. In id order; the database decides, so only the rows that are
     * changed come here. Of two units that see the same cross one marks it.
     */
    async triggerStops(accountId: string, marks: readonly Mark[]): Promise<readonly StopTrigger[]> {
      const rows = await sql<Position & { markPrice: string; previouslyUpdatedAt: string }>`
        /* marks.triggerStops */
        with crossed as (
          select p.id, p.updated_at as previously_updated_at, i.price as mark_price,
            i.at as mark_at, case when ${isStopLoss} then 'STOP_LOSS' else 'TAKE_PROFIT' end as kind
          from json_to_recordset(${JSON.stringify(marks)}::text::json) as i (
            exchange text, symbol text, price numeric, at timestamptz)
          join positions as p using (exchange, symbol)
          where p.account_id = ${accountId} and p.status = 'OPEN' and p.stop_triggered_at is null
            and (${isStopLoss} or ${isTakeProfit})
          order by p.id
          for no key update of p
        ), triggered as (
          update positions as p
          set stop_triggered_at = c.mark_at, stop_triggered_kind = c.kind,
            updated_at = ${recorder.at}, version = p.version + 1
          from crossed as c
          where p.account_id = ${accountId} and p.id = c.id
          returning p.*, trim_scale(c.mark_price) as mark_price, c.previously_updated_at
        )
        select ${columns}, mark_price, previously_updated_at from triggered order by id`;
      return rows.map(({ markPrice: price, previouslyUpdatedAt, ...position }): StopTrigger => {
        const kind = position.stopTriggeredKind;
        if (kind === null) throw new Error('a stop was triggered without a kind');
        recorder.record({
          accountId,
          entity: 'position',
          operation: 'UPDATE',
          ids: [position.id],
          before: {
            ...position,
            stopTriggeredAt: null,
            stopTriggeredKind: null,
            updatedAt: previouslyUpdatedAt,
            version: position.version - 1,
          },
          after: position,
        });
        return { position, kind, price };
      });
    },
  };
}

const isStopLoss = fragment`
  (case p.side when 'LONG' then i.price <= p.stop_loss_price else i.price >= p.stop_loss_price end)`;

const isTakeProfit = fragment`
  (case p.side when 'LONG' then i.price >= p.take_profit_price
    else i.price <= p.take_profit_price end)`;
