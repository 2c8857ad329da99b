import type { ChangeRecorder } from './change-recorder.ts';
import type { HeldWrites } from './held-writes.ts';
import { columns, type Position, type StopKind } from './position.ts';
import { fragment, type Sql } from './sql.ts';

/** The newest price of an instrument as an account saw it. */
export interface Mark {
  readonly exchange: string;
  readonly symbol: string;
  readonly price: string;
  readonly at: string;
}

/** A position with the mark it is shown at; null: there is none. Others show the newest one. */
export interface MarkedPosition extends Position {
  readonly markPrice: string | null;
}

/** A mark of an instrument, by the seq of its change. */
export interface MarkPlace {
  readonly seq: string;
  readonly exchange: string;
  readonly symbol: string;
}

/** A stop that a mark has crossed: the position as it is now, and the price that did it. */
export interface StopTrigger {
  readonly position: Position;
  readonly kind: StopKind;
  readonly price: string;
}

export function createMarkRepository(held: HeldWrites, recorder: ChangeRecorder) {
  const { sql } = held;
  return {
    /** The mark of each of these instruments that has one, in no order; a unit reads each once. */
    async find(
      accountId: string,
      instruments: readonly { readonly exchange: string; readonly symbol: string }[],
    ): Promise<readonly Mark[]> {
      const known = held.marks ?? new Map<string, Mark | null>();
      const nameOf = (one: { exchange: string; symbol: string }) =>
        `${accountId} ${one.exchange} ${one.symbol}`;
      const wanted = new Map(instruments.map((one) => [nameOf(one), one]));
      const unread = [...wanted].flatMap(([name, one]) => (known.has(name) ? [] : [one]));
      if (unread.length > 0) {
        const marks = await held.direct<Mark>`
          /* marks.find */
          select exchange, symbol, trim_scale(price) as price, at from marks
          where account_id = ${accountId} and (exchange, symbol) in (
            select * from unnest(
              ${unread.map((one) => one.exchange)}::text[],
              ${unread.map((one) => one.symbol)}::text[]))`;
        for (const one of unread) known.set(nameOf(one), null);
        for (const mark of marks) known.set(nameOf(mark), mark);
      }
      return [...wanted.keys()].flatMap((name) => known.get(name) ?? []);
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
        with seen as (
          -- Offset 0 keeps it a look-up for each mark: as a join it would read all open positions.
          select i.*, p.id, p.side
          from json_to_recordset(${JSON.stringify(marks)}::text::json) as i (
            exchange text, symbol text, price numeric, at timestamptz)
          cross join lateral (
            select id, side, stop_loss_price, take_profit_price from positions
            where account_id = ${accountId} and exchange = i.exchange and symbol = i.symbol
              and status = 'OPEN' and stop_triggered_at is null
            offset 0
          ) as p
          where ${isStopLoss} or ${isTakeProfit}
        ), crossed as (
          -- Decided once more under the lock: a stop may have been moved meanwhile. With all columns
          -- of both unique keys every plan is a look-up, whatever is known of the table.
          select p.id, p.updated_at as previously_updated_at, i.price as mark_price,
            i.at as mark_at, case when ${isStopLoss} then 'STOP_LOSS' else 'TAKE_PROFIT' end as kind
          from (select * from seen order by id) as i
          cross join lateral (
            select id, side, stop_loss_price, take_profit_price, updated_at from positions
            where account_id = ${accountId} and exchange = i.exchange and symbol = i.symbol
              and side = i.side and status = 'OPEN' and id = i.id and stop_triggered_at is null
            for no key update
          ) as p
          where ${isStopLoss} or ${isTakeProfit}
        ), triggered as (
          update positions as p
          set stop_triggered_at = c.mark_at, stop_triggered_kind = c.kind,
            updated_at = ${recorder.at}, version = p.version + 1
          from crossed as c
          where p.account_id = ${accountId} and p.id = any(array(select id from crossed))
            and p.id = c.id
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

/** So many changes after a mark are looked through for positions that were closed since. */
export const CLOSED_SINCE_MAX = 500;

/**
 * The positions that were open at these marks, each as it was when the mark was committed, in the
 * order of the marks and of their ids. One that was closed later is among them if it was closed by
 * one of the 500 changes after the oldest of these marks. One statement, of one moment.
 */
export async function readMarked(
  sql: Sql,
  accountId: string,
  marks: readonly MarkPlace[],
): Promise<readonly { readonly seq: string; readonly position: Position }[]> {
  const oldest = marks.reduce(
    (seq, mark) => (BigInt(mark.seq) < seq ? BigInt(mark.seq) : seq),
    LAST,
  );
  const rows = await sql<Position & { seq: string; before: Position | null; isChanged: boolean }>`
    /* marks.readMarked */
    with marked as (
      select * from json_to_recordset(${JSON.stringify(marks)}::text::json) as i (
        seq bigint, exchange text, symbol text)
    ), found as (
      -- Offset 0 keeps it a look-up for each mark: as a join it would read all open positions.
      select m.seq, p.id from marked as m
      cross join lateral (
        select id from positions
        where account_id = ${accountId} and exchange = m.exchange and symbol = m.symbol
          and status = 'OPEN'
        offset 0
      ) as p
      union
      select m.seq, c.ids[1]::uuid from (
        select seq, ids, before ->> 'exchange' as exchange, before ->> 'symbol' as symbol
        from changes
        where account_id = ${accountId} and seq > ${String(oldest)}::bigint
          and seq <= ${String(oldest + BigInt(CLOSED_SINCE_MAX))}::bigint
          and entity = 'position' and count = 1 and before ->> 'status' = 'OPEN'
          and after ->> 'status' <> 'OPEN'
        offset 0
      ) as c
      join marked as m on m.exchange = c.exchange and m.symbol = c.symbol and m.seq < c.seq
    )
    select f.seq, p.*, later.seq is not null as is_changed, later.before
    from found as f
    cross join lateral (
      select ${columns} from positions where account_id = ${accountId} and id = f.id
    ) as p
    -- What the row was before its first change since is what it was at the mark.
    left join lateral (
      select c.seq, c.before from changes as c
      where c.account_id = ${accountId} and c.count = 1 and c.ids[1] = f.id::text
        and c.seq > f.seq and c.entity = 'position'
      order by c.seq limit 1
    ) as later on true
    order by f.seq, p.id`;
  return rows.flatMap(({ seq, before, isChanged, ...row }) => {
    const position = isChanged ? before : row;
    // Null: it was opened since.
    return position === null ? [] : [{ seq, position }];
  });
}

const LAST = 2n ** 63n;

const isStopLoss = fragment`
  (case p.side when 'LONG' then i.price <= p.stop_loss_price else i.price >= p.stop_loss_price end)`;

const isTakeProfit = fragment`
  (case p.side when 'LONG' then i.price >= p.take_profit_price
    else i.price <= p.take_profit_price end)`;
