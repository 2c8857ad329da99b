import { type Cursor, encodeCursor } from '../datasources/cursor.ts';
import { instantOf } from '../datasources/instant.ts';
import type { ChangeFeed, FeedReader, Watch } from './change-feed.ts';
import type { EventKind, LogEvent, LogStream, Snapshot } from './log-stream.ts';

/** The epoch of cursors that name no place, as none is called so: with one a stream is reset. */
const NOWHERE = 'snapshot';

/** Where a stream begins, and what it says before the changes that follow. */
export interface Opening<Row> {
  readonly place: Cursor;
  readonly events: Iterable<LogEvent<Row>>;
  /** CAUGHT_UP is sent when the place is there; null: it is among the events. */
  readonly goalSeq: number | null;
  /** The change that was told before; left out: what comes next is the first. */
  readonly lastSeq?: string;
}

/** @throws AppError NOT_FOUND, UNAVAILABLE when it cannot begin */
export async function open<Row, Event>(
  { after, readSnapshot, context }: LogStream<Row, Event>,
  watch: Watch,
  reader: FeedReader,
): Promise<Opening<Row>> {
  const timeMs = Math.max(0, context.call.deadlineAt - performance.now());
  const head = await watch.head({ timeMs, signal: reader.signal });
  const isReset = after !== null && !(await isOf(head, after, watch, reader));
  if (after !== null && !isReset) return { place: after, events: [], goalSeq: head.seq };
  if (readSnapshot === null) return beginAt(head, isReset);
  const { feed } = context.services;
  return beginWith(feed, await feed.catchUp(reader, readSnapshot), isReset);
}

/** Whether a cursor is a place on the way to this head. */
async function isOf(
  head: Cursor,
  cursor: Cursor,
  watch: Watch,
  reader: FeedReader,
): Promise<boolean> {
  if (cursor.epoch !== head.epoch || cursor.seq > head.seq) return false;
  return watch.confirms(cursor, reader);
}

/** After a place that was lost. The database may be away, too: an open stream waits for it. */
export async function reopen<Row, Event>(
  { readSnapshot, context }: LogStream<Row, Event>,
  watch: Watch,
  reader: FeedReader,
): Promise<Opening<Row>> {
  if (readSnapshot === null) return beginAt(await watch.head({ signal: reader.signal }), true);
  const { feed } = context.services;
  return beginWith(feed, await feed.catchUpPatiently(reader, readSnapshot), true);
}

function beginAt<Row>(head: Cursor, isReset: boolean): Opening<Row> {
  const events = [plainEvent<Row>('CAUGHT_UP', head, null)];
  if (isReset) events.unshift(plainEvent<Row>('RESET', head, null));
  return { place: head, events, goalSeq: null };
}

function beginWith<Row>(
  feed: ChangeFeed,
  { head, rows }: Snapshot<Row>,
  isReset: boolean,
): Opening<Row> {
  const held = feed.rows.hold(rows);
  const place = { epoch: head.epoch, seq: Number(head.seq), hash: head.hash };
  // A client that has only a part of the snapshot must not resume as if it had all of it.
  const cursor = encodeCursor(NOWHERE, head.seq, '');
  function* events(): Generator<LogEvent<Row>> {
    if (isReset) yield { ...plainEvent<Row>('RESET', place, null), cursor };
    for (const row of held) yield { ...plainEvent<Row>('SNAPSHOT', place, null), cursor, row };
    yield plainEvent<Row>('CAUGHT_UP', place, null);
  }
  return { place, events: events(), goalSeq: null };
}

/** What is no change. */
export function plainEvent<Row>(
  kind: EventKind,
  place: Cursor,
  previousSeq: string | null,
): LogEvent<Row> {
  return {
    kind,
    cursor: encodeCursor(place.epoch, place.seq, place.hash),
    seq: String(place.seq),
    previousSeq,
    at: instantOf(Date.now()),
    operation: null,
    row: null,
    before: null,
    fromSeq: null,
    actor: null,
  };
}
