import type { FrameSource } from './frame-source.ts';
import type { Snapshot } from './shared-snapshot.ts';
import { fragment, identifier, joined, type RawRow, type Sql, type SqlStatement } from './sql.ts';

/** Rows with keys above `low` up to `high`, each a text for each key of the source. */
interface Chunk {
  readonly low: readonly string[];
  readonly high: readonly string[];
}

export interface Chunks {
  /** The newest first, of one size but for the first and the last; at least one. */
  readonly list: readonly Chunk[];
  /** Older rows match, too. */
  readonly isTruncated: boolean;
  /** Of the account's head; null: there is no such account. */
  readonly headSeq: string | null;
}

/** Where the newest `limit` rows of a source fall into chunks of `size`: the keys alone are read. */
export async function findChunks(
  sql: Sql,
  { accountId, keys, rows }: FrameSource,
  limit: number,
  size: number,
): Promise<Chunks> {
  const count = Math.ceil(limit / size);
  const firstSize = limit - (count - 1) * size;
  const names = keys.map((_key, place) => identifier(`key${place}`));
  const ends = names.map((name) => fragment`ends.${name}`);
  // A step for each chunk, along an index and past as many keys as the chunk has rows.
  const found = await sql`
    /* frames.findChunks */
    with recursive ends (place, ${commas(names)}) as (
      select 0, ${commas(keys.map(({ most, type }) => fragment`${most}::${type}`))}
      union all
      select ends.place + 1, ${commas(names.map((name) => fragment`older.${name}`))}
      from ends
      cross join lateral (
        select ${commas(keys.map(({ value }, place) => fragment`${value} as ${identifier(`key${place}`)}`))}
        ${rows} and ${isUpTo(keys, ends)}
        order by ${commas(keys.map(({ value }) => fragment`${value} desc`))}
        offset case ends.place when 0 then ${firstSize}::int else ${size}::int end
        limit 1
      ) as older
      where ends.place < ${count}
    )
    select (select seq from account_heads where account_id = ${accountId}),
      ${commas(ends.map((end) => fragment`${end}::text`))}
    from ends order by place`.raw();
  const places = found.map((row) => row.slice(1).map(String));
  const least = keys.map((key) => key.least);
  return {
    list: places.slice(0, count).map((high, place) => ({ high, low: places[place + 1] ?? least })),
    isTruncated: found.length > count,
    headSeq: found[0]?.[0]?.toString() ?? null,
  };
}

/** What is read of each chunk: one row, of values of the rows it has, named `matching`. */
export interface ChunkQuery {
  readonly title: SqlStatement<unknown>;
  /** Of a row. */
  readonly items: SqlStatement<unknown>;
  /** Of the rows together; as many as `width` says. */
  readonly values: SqlStatement<unknown>;
  readonly width: number;
}

/** Below it, a second connection costs more than it saves. */
const SHARED_MIN = 8;

/**
 * Gives the row of each chunk to `keep`, with the place of the chunk in the list, until it answers
 * that it wants no more. Many chunks are read by two connections, where the lane has one to spare:
 * by one from the newest on, by the other from the oldest, until they meet.
 *
 * @throws what the first statement that failed did; then neither connection goes on
 */
export async function readChunks(
  snapshot: Snapshot,
  source: FrameSource,
  query: ChunkQuery,
  { list }: Chunks,
  keep: (row: RawRow, place: number) => boolean,
): Promise<void> {
  const failures: unknown[] = [];
  /** Those from here up to the end have not been asked for. */
  let next = 0;
  let end = list.length;
  let isShared = false;

  async function read(sql: Sql, places: readonly number[], claim: () => boolean): Promise<void> {
    try {
      const fetch = await openCursor(sql, source, query, list, places);
      const unread = places.values();
      const take = (): Taken | null => {
        if (next >= end || !claim()) return null;
        const row = fetch();
        // It is awaited below, unless the one before it fails.
        row.catch(ignore);
        return { place: unread.next().value ?? 0, row };
      };
      let taken = take();
      while (taken !== null) {
        // The next is asked for before this one has come: PostgreSQL need not wait for us.
        const following = take();
        if (!keep(await taken.row, taken.place)) end = next;
        taken = following;
      }
    } catch (error) {
      end = next;
      failures.push(error);
    }
  }

  const places = [...list.keys()];
  const fromOldest = (isWanted: () => boolean) => () => {
    if (!isWanted()) return false;
    isShared = true;
    end -= 1;
    return true;
  };
  const fromNewest = () => {
    next += 1;
    return true;
  };
  const help =
    list.length < SHARED_MIN
      ? null
      : snapshot
          .beside((sql, isWanted) => read(sql, places.toReversed(), fromOldest(isWanted)))
          .catch((error: unknown) => failures.push(error));
  await read(snapshot.sql, places, fromNewest);
  // One that has taken nothing so far finds nothing left: nobody waits for it.
  if (isShared) await help;
  if (failures.length > 0) throw failures[0];
}

/** A chunk that was asked for. */
interface Taken {
  readonly place: number;
  readonly row: Promise<RawRow>;
}

/** Rows one at a time, in the order of the places. */
async function openCursor(
  sql: Sql,
  { rows, keys }: FrameSource,
  { title, items, values, width }: ChunkQuery,
  list: readonly Chunk[],
  places: readonly number[],
): Promise<() => Promise<RawRow>> {
  // A session knows a FETCH by its text, and how many columns it had the first time.
  const cursor = identifier(`frame_of_${width}`);
  const bounds = (end: 'low' | 'high') =>
    keys.map(({ type }, key) => {
      const texts = places.map((place) => list[place]?.[end][key] ?? null);
      return { name: identifier(`${end}${key}`), array: fragment`${texts}::${type}[]` };
    });
  const [lows, highs] = [bounds('low'), bounds('high')];
  const both = [...lows, ...highs];
  await sql`
    ${title}
    declare ${cursor} no scroll cursor for
    select texts.*
    from unnest(${commas(both.map(({ array }) => array))}) with ordinality
      as chunks (${commas(both.map(({ name }) => name))}, place)
    cross join lateral (
      select ${values}
      from (
        select ${items} ${rows}
          and ${isAbove(keys, lows.map(inChunks))} and ${isUpTo(keys, highs.map(inChunks))}
        order by ${valuesOf(keys)}
      ) as matching
    ) as texts
    order by chunks.place`;
  return async () => {
    const [row] = await sql`/* frames.fetch */ fetch forward 1 from ${cursor}`.raw();
    if (row === undefined) throw new Error('a chunk without a row');
    return row;
  };
}

function commas(parts: readonly SqlStatement<unknown>[]): SqlStatement<unknown> {
  return joined(parts, ', ');
}

function inChunks({ name }: { readonly name: SqlStatement<unknown> }): SqlStatement<unknown> {
  return fragment`chunks.${name}`;
}

function ignore(): void {
  // The one before it is told.
}

type Keys = FrameSource['keys'];
type Bounds = readonly SqlStatement<unknown>[];

function isAbove(keys: Keys, low: Bounds): SqlStatement<unknown> {
  const [{ value }] = keys;
  // The first key finds the rows, which all of them together would not.
  return fragment`
    ${value} >= ${low[0] ?? fragment``} and (${valuesOf(keys)}) > (${commas(low)})`;
}

function isUpTo(keys: Keys, high: Bounds): SqlStatement<unknown> {
  const [{ value }] = keys;
  return fragment`
    ${value} <= ${high[0] ?? fragment``} and (${valuesOf(keys)}) <= (${commas(high)})`;
}

function valuesOf(keys: Keys): SqlStatement<unknown> {
  return commas(keys.map(({ value }) => value));
}
