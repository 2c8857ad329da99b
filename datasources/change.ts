import { randomBytes } from 'node:crypto';
import { AppError } from '../errors.ts';
import type { TradingState } from './change-recorder.ts';
import type { TimeRange } from './keyset.ts';
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
  /** Hex, of the last change; empty before the first. */
  readonly hash: string;
}

export interface ChangeWhere {
  readonly entities?: readonly string[] | null;
  /** Row ids or keys; batches that name one of them are found, too. */
  readonly ids?: readonly string[] | null;
  /** Ids of rows whose changes are never batches: found by an index. */
  readonly singleIds?: readonly string[] | null;
  readonly actor?: string | null;
  readonly operations?: readonly ChangeOperation[] | null;
  /** from <= at < to */
  readonly at?: TimeRange | null;
}

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

    /** The changes after a seq of each of these rows, oldest first, at most `limit` a row. */
    async listByRows(
      accountId: string,
      ids: readonly string[],
      { afterSeq, limit }: { readonly afterSeq: string | null; readonly limit: number },
    ): Promise<readonly Change[]> {
      return sql<Change>`
        /* changes.listByRows */
        select history.* from unnest(${ids}::text[]) as wanted (id)
        cross join lateral (
          select ${columns} from changes
          where account_id = ${accountId} and count = 1 and ids[1] = wanted.id
            and seq > ${afterSeq ?? '0'}
          order by seq limit ${limit}) as history
        order by history.seq`;
    },

    /** The hash of the change with this seq, in hex; null: it is not kept. */
    async findHash(accountId: string, seq: number): Promise<string | null> {
      return readHash(sql, accountId, seq);
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
    select account_id, seq, epoch, at, trading_state, encode(hash, 'hex') as hash
    from account_heads
    where account_id = any(${accountIds}::text[])`;
}

/**
 * Gives the history of an account another name, unless somebody has done so already: for one that
 * was replaced under this name, so that seqs are given a second time. May be run again.
 */
export async function renewEpoch(sql: Sql, accountId: string, epoch: string): Promise<void> {
  const renewed = randomBytes(EPOCH_BYTES).toString('hex');
  await sql`
    /* changes.renewEpoch */
    update account_heads set epoch = ${renewed}
    where account_id = ${accountId} and epoch = ${epoch}`;
}

const EPOCH_BYTES = 4;

/** The hash of the change with this seq, in hex, also when retention went up to it; else null. */
export async function readHash(
  sql: Sql,
  accountId: string,
  seq: number | string,
): Promise<string | null> {
  const [row] = await sql<{ hash: string }>`
    /* changes.readHash */
    select encode(hash, 'hex') as hash from changes
    where account_id = ${accountId} and seq = ${seq}
    union all
    select encode(hash, 'hex') from change_checkpoints
    where account_id = ${accountId} and seq = ${seq}
    limit 1`;
  return row?.hash ?? null;
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

function conditions(where: ChangeWhere): SqlStatement<unknown> {
  return fragment`
    ${where.entities ? fragment`and entity = any(${where.entities}::text[])` : fragment``}
    ${where.ids ? fragment`and ids && ${where.ids}::text[]` : fragment``}
    ${where.singleIds ? fragment`and count = 1 and ${firstIdIs(where.singleIds)}` : fragment``}
    ${where.actor ? fragment`and actor = ${where.actor}` : fragment``}
    ${where.operations ? fragment`and operation = any(${where.operations}::text[])` : fragment``}
    ${where.at?.from ? fragment`and at >= ${where.at.from}` : fragment``}
    ${where.at?.to ? fragment`and at < ${where.at.to}` : fragment``}`;
}

/** With one id the index gives the rows in the order of seqs, and the page ends early. */
function firstIdIs(ids: readonly string[]): SqlStatement<unknown> {
  const [id, ...others] = ids;
  if (id !== undefined && others.length === 0) return fragment`ids[1] = ${id}`;
  return fragment`ids[1] = any(${ids}::text[])`;
}

/** What a walk along the chain of an account found. */
export interface ChainReport {
  readonly accountId: string;
  /** Changes that were found to be right. */
  readonly checked: number;
  /** The last seq by the account's head; null: the account has none. */
  readonly head: string | null;
  /** Null: the chain holds up to the head. */
  readonly firstBad: { readonly seq: string; readonly reason: string } | null;
}

const CHUNK_ROWS = 10_000;

/**
 * Recomputes the hashes of an account's log, in the database, and compares them: a row that was
 * altered, removed or added is found, and a head that was. Changes committed meanwhile are left out.
 * It begins after the rows that retention has deleted, whose last hash is kept; a change that is
 * kept has to name it. With `fromSeq` it begins there, and that row is taken to follow from those
 * before it if they are gone.
 */
export async function verifyChain(
  sql: Sql,
  accountId: string,
  fromSeq: string | null = null,
): Promise<ChainReport> {
  const end = await readChainEnd(sql, accountId);
  if (end === undefined) {
    const firstBad = { seq: '0', reason: 'the account has no head' };
    return { accountId, checked: 0, head: null, firstBad };
  }
  const report = { accountId, head: end.seq };
  let previous =
    fromSeq === null
      ? await readCheckpoint(sql, accountId)
      : await readLinkBefore(sql, accountId, BigInt(fromSeq));
  let checked = 0;
  for (;;) {
    const [chunk] = await readChunk(sql, accountId, previous, end.seq);
    if (chunk === undefined) throw new Error('an aggregate gave no row');
    checked += chunk.rightCount;
    if (chunk.badSeq !== null) {
      const firstBad = { seq: chunk.badSeq, reason: chunk.reason ?? 'unknown' };
      const moved = fromSeq === null ? await readCheckpoint(sql, accountId) : previous;
      if (BigInt(moved.seq) <= BigInt(previous.seq)) return { ...report, checked, firstBad };
      // Retention came by meanwhile: what it has deleted is not missing.
      previous = moved;
      continue;
    }
    if (chunk.lastSeq === null) break;
    previous = { seq: chunk.lastSeq, hash: chunk.lastHash };
  }
  const firstBad = judgeEnd(end, previous) ?? (await judgeCheckpoint(sql, accountId));
  return { ...report, checked, firstBad };
}

interface Link {
  readonly seq: string;
  /** Hex; null: not known, what follows is taken as it is. */
  readonly hash: string | null;
}

interface ChainEnd {
  readonly seq: string;
  readonly hash: string;
  readonly lastSeq: string;
}

async function readChainEnd(sql: Sql, accountId: string): Promise<ChainEnd | undefined> {
  const [end] = await sql<ChainEnd>`
    /* changes.readChainEnd */
    select h.seq, encode(h.hash, 'hex') as hash,
      (select coalesce(max(c.seq), 0) from changes c where c.account_id = h.account_id) as last_seq
    from account_heads h where h.account_id = ${accountId}`;
  return end;
}

/** The last change that retention has deleted; what is kept follows it. */
async function readCheckpoint(sql: Sql, accountId: string): Promise<Link> {
  const [row] = await sql<{ seq: string; hash: string }>`
    /* changes.readCheckpoint */
    select seq, encode(hash, 'hex') as hash from change_checkpoints
    where account_id = ${accountId}`;
  return row ?? { seq: '0', hash: '' };
}

/** Retention says in the log, by seq and hash, up to where it has deleted. */
async function judgeCheckpoint(sql: Sql, accountId: string): Promise<ChainReport['firstBad']> {
  const [row] = await sql<{ seq: string }>`
    /* changes.findUnexplained */
    select p.seq from change_checkpoints as p
    where p.account_id = ${accountId} and not exists (
      select from changes as c
      where c.account_id = p.account_id and c.seq > p.seq and c.entity = 'change'
        and c.operation = 'DELETE' and c.ids = array[p.seq::text]
        and c.before ->> 'hash' = encode(p.hash, 'hex'))`;
  if (row === undefined) return null;
  return { seq: row.seq, reason: 'no change says that the rows up to here were deleted' };
}

/** The link that a seq follows: nothing at all before the first, unknown when it was deleted. */
async function readLinkBefore(sql: Sql, accountId: string, fromSeq: bigint): Promise<Link> {
  const seq = String(fromSeq - 1n);
  if (seq === '0') return { seq, hash: '' };
  const [row] = await sql<{ hash: string }>`
    /* changes.readLink */
    select encode(hash, 'hex') as hash from changes
    where account_id = ${accountId} and seq = ${seq}`;
  return { seq, hash: row?.hash ?? null };
}

function judgeEnd(end: ChainEnd, last: Link): ChainReport['firstBad'] {
  if (last.seq !== end.seq) {
    const seq = String(BigInt(last.seq) + 1n);
    return { seq, reason: `rows are missing up to the head, which is ${end.seq}` };
  }
  if (end.lastSeq !== end.seq) {
    const seq = String(BigInt(end.seq) + 1n);
    return { seq, reason: `the head is ${end.seq}, but there are rows up to ${end.lastSeq}` };
  }
  if (last.hash === null || last.hash === end.hash) return null;
  return { seq: end.seq, reason: 'the head has another hash than the last row' };
}

interface Chunk {
  /** Rows before the first bad one. */
  readonly rightCount: number;
  readonly lastSeq: string | null;
  readonly lastHash: string | null;
  readonly badSeq: string | null;
  readonly reason: string | null;
}

function readChunk(sql: Sql, accountId: string, previous: Link, endSeq: string) {
  return sql<Chunk>`
    /* changes.verifyChunk */
    with chunk as (
      select * from changes
      where account_id = ${accountId} and seq > ${previous.seq} and seq <= ${endSeq}
      order by seq limit ${CHUNK_ROWS}
    ), linked as (
      select *, lag(seq, 1, ${previous.seq}::bigint) over w as before_seq,
        lag(hash, 1, decode(${previous.hash}, 'hex')) over w as before_hash
      from chunk window w as (order by seq)
    ), judged as (
      select seq, hash, case
        when seq <> before_seq + 1 then 'rows before it are missing'
        when row_hash <> change_row_hash(account_id, entity, operation, ids, count, before, after,
          actor, request_id, operation_name) then 'the row was altered'
        when hash <> change_hash(before_hash, row_hash, seq, at)
          then 'its place, its instant or the row before it was altered'
        end as reason
      from linked
    ), bad as (
      select seq, reason from judged where reason is not null order by seq limit 1
    )
    select count(*) filter (where seq < coalesce((select seq from bad), seq + 1))::int
        as right_count,
      max(seq) as last_seq, encode((array_agg(hash order by seq desc))[1], 'hex') as last_hash,
      (select seq from bad) as bad_seq, (select reason from bad) as reason
    from judged`;
}
