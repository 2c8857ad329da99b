import { AppError } from '../errors.ts';
import type { TradingState } from './change-recorder.ts';
import { fragment, type Sql, type SqlStatement } from './sql.ts';

export type ChangeOperation = 'INSERT' | 'UPDATE' | 'DELETE' | 'MARK' | 'DENIED';

/** One committed fact. Seqs are int8 and stand as strings; below 2^53 they are safe as numbers. */
export interface Change {
  readonly accountId: string;
  readonly seq: string;
  readonly at: string;
  readonly entity: string;
  readonly operation: ChangeOperation;
  /** Row ids, or keys of what has no id. */
  readonly ids: readonly string[];
  readonly count: number;
  readonly before: unknown;
  readonly after: unknown;
  readonly actor: string;
  readonly requestId: string;
  readonly operationName: string | null;
  /** Hex. */
  readonly hash: string;
}

/** The end of an account's log. `epoch` names this history: a restored database gets another. */
export interface Head {
  readonly accountId: string;
  readonly seq: string;
  readonly epoch: string;
  readonly at: string;
  readonly tradingState: TradingState;
}

export interface ChangeWhere {
  readonly entities?: readonly string[] | null;
  /** Row ids. */
  readonly ids?: readonly string[] | null;
  readonly actor?: string | null;
  readonly operations?: readonly ChangeOperation[] | null;
  /** from <= at < to */
  readonly at?: { readonly from?: string | null; readonly to?: string | null } | null;
}

export type ChangeRepository = ReturnType<typeof createChangeRepository>;

const columns = fragment`
  account_id, seq, at, entity, operation, ids, count, before, after, actor, request_id,
  operation_name, encode(hash, 'hex') as hash`;

export function createChangeRepository(sql: Sql) {
  return {
    /** @throws AppError NOT_FOUND */
    async getHead(accountId: string): Promise<Head> {
      const [head] = await readHeads(sql, [accountId]);
      if (head !== undefined) return head;
      throw new AppError('NOT_FOUND', `There is no account ${JSON.stringify(accountId)}.`, {
        path: ['account'],
      });
    },

    /** Changes after a seq that match, oldest first. */
    async list(
      accountId: string,
      where: ChangeWhere,
      { afterSeq, limit }: { readonly afterSeq: string | null; readonly limit: number },
    ): Promise<readonly Change[]> {
      return sql<Change>`
        /* changes.list */
        select ${columns} from changes
        where account_id = ${accountId} and seq > ${afterSeq ?? '0'} ${conditions(where)}
        order by seq limit ${limit}`;
    },

    /** All changes after a seq, oldest first. */
    async listAfter(
      accountId: string,
      afterSeq: string,
      limit: number,
    ): Promise<readonly Change[]> {
      return readAfter(sql, accountId, afterSeq, limit);
    },
  };
}

/** The heads of those of these accounts that exist, in no order; one statement. */
export async function readHeads(sql: Sql, accountIds: readonly string[]): Promise<readonly Head[]> {
  return sql<Head>`
    /* changes.readHeads */
    select account_id, seq, epoch, at, trading_state from account_heads
    where account_id = any(${accountIds}::text[])`;
}

/** All changes of an account after a seq, oldest first. */
export async function readAfter(
  sql: Sql,
  accountId: string,
  afterSeq: string,
  limit: number,
): Promise<readonly Change[]> {
  return sql<Change>`
    /* changes.readAfter */
    select ${columns} from changes
    where account_id = ${accountId} and seq > ${afterSeq}
    order by seq limit ${limit}`;
}

/** The seq of the oldest change that is still kept, or null where there is none. */
export async function readLowestSeq(sql: Sql, accountId: string): Promise<string | null> {
  const [row] = await sql<{ seq: string | null }>`
    /* changes.readLowestSeq */
    select min(seq) as seq from changes where account_id = ${accountId}`;
  return row?.seq ?? null;
}

function conditions(where: ChangeWhere): SqlStatement<unknown> {
  // One id is what a history asks for, and it has an index of its own.
  const [id, ...others] = where.ids ?? [];
  const isHistory = id !== undefined && others.length === 0;
  return fragment`
    ${where.entities ? fragment`and entity = any(${where.entities}::text[])` : fragment``}
    ${isHistory ? fragment`and count = 1 and ids[1] = ${id}` : fragment``}
    ${where.ids && !isHistory ? fragment`and ids && ${where.ids}::text[]` : fragment``}
    ${where.actor ? fragment`and actor = ${where.actor}` : fragment``}
    ${where.operations ? fragment`and operation = any(${where.operations}::text[])` : fragment``}
    ${where.at?.from ? fragment`and at >= ${where.at.from}` : fragment``}
    ${where.at?.to ? fragment`and at < ${where.at.to}` : fragment``}`;
}

/** What a walk along the chain of an account found. */
export interface ChainReport {
  readonly accountId: string;
  readonly checked: number;
  /** Null: the chain holds up to the head. */
  readonly firstBad: { readonly seq: string; readonly reason: string } | null;
}

const CHUNK_ROWS = 10_000;

/**
 * Recomputes every hash of an account's log from its oldest row and compares it: a row that was
 * altered, removed or added, and a head that was, are found. The oldest row is taken as it is when
 * those before it were deleted by retention. The database does the hashing.
 */
export async function verifyChain(sql: Sql, accountId: string): Promise<ChainReport> {
  const [head] = await sql<{ seq: string; hash: string }>`
    /* changes.readChainHead */
    select seq, encode(hash, 'hex') as hash from account_heads where account_id = ${accountId}`;
  if (head === undefined) {
    return { accountId, checked: 0, firstBad: { seq: '0', reason: 'the account has no head' } };
  }
  let previous: { seq: string; hash: string } | null = null;
  let checked = 0;
  for (;;) {
    const [chunk] = await readChunk(sql, accountId, previous, head.seq);
    if (chunk === undefined || chunk.count === 0) break;
    if (chunk.badSeq !== null) {
      return { accountId, checked, firstBad: { seq: chunk.badSeq, reason: chunk.reason ?? '' } };
    }
    checked += chunk.count;
    previous = { seq: chunk.lastSeq, hash: chunk.lastHash };
  }
  const end = previous ?? { seq: '0', hash: '' };
  if (end.seq !== head.seq) {
    const reason = `the head is at ${head.seq}, the last row at ${end.seq}`;
    return { accountId, checked, firstBad: { seq: end.seq, reason } };
  }
  if (end.hash !== head.hash) {
    const reason = 'the head has another hash than the last row';
    return { accountId, checked, firstBad: { seq: end.seq, reason } };
  }
  return { accountId, checked, firstBad: null };
}

interface Chunk {
  readonly count: number;
  readonly lastSeq: string;
  readonly lastHash: string;
  readonly badSeq: string | null;
  readonly reason: string | null;
}

function readChunk(
  sql: Sql,
  accountId: string,
  previous: { readonly seq: string; readonly hash: string } | null,
  headSeq: string,
) {
  // The first row that is kept begins the chain: after nothing, when it is the first of all.
  return sql<Chunk>`
    /* changes.verifyChunk */
    with kept as (
      select c.*, lag(c.seq, 1, ${previous?.seq ?? null}::int8) over w as before_seq,
        lag(c.hash, 1, decode(${previous?.hash ?? null}, 'hex')) over w as before_hash
      from changes c
      where account_id = ${accountId} and seq > ${previous?.seq ?? '0'} and seq <= ${headSeq}
      window w as (order by seq)
      order by seq limit ${CHUNK_ROWS}
    ), judged as (
      select seq, hash, case
        when before_seq is null and seq > 1 then null
        when coalesce(before_seq, 0) + 1 <> seq then 'rows before it are missing'
        when row_hash <> change_row_hash(account_id, entity, operation, ids, count, before, after,
          actor, request_id, operation_name) then 'the row was altered'
        when hash <> change_hash(coalesce(before_hash, '\\x'), row_hash, seq, at)
          then 'its place, its instant or the row before it was altered'
        end as reason
      from kept
    ), bad as (
      select seq, reason from judged where reason is not null order by seq limit 1
    )
    select count(*)::int as count, max(seq) as last_seq,
      encode((array_agg(hash order by seq desc))[1], 'hex') as last_hash,
      (select seq from bad) as bad_seq, (select reason from bad) as reason
    from judged`;
}
