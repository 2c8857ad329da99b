import type { Actor } from '../access.ts';
import type { Context } from '../context.ts';
import { type Cursor, decodeCursor } from '../datasources/cursor.ts';
import type { AppError } from '../errors.ts';

/** Where a reader stands: it was told everything up to `place`, and nothing is held back. */
export interface Stand {
  readonly place: Cursor;
  /** The seq of the change it was told last, or the one it began after. */
  readonly lastSeq: string;
  /** The seq of the last event it was sent, of whatever kind. */
  readonly seenSeq: string;
}

/** What every event of a stream over the log has. */
export interface SharedEvent {
  readonly kind: string;
  readonly seq: string;
  readonly previousSeq: string | null;
  readonly cursor: string;
}

/** One event as all members of a group are sent it. */
export interface Frame {
  readonly cursor: string;
  /** The result of the operation for this event, as JSON. */
  readonly text: string;
  /** What the sinks of one kind make of it, made once. */
  made: Buffer | null;
}

/** Where the frames of one operation go. */
export interface Sink {
  /** Bytes that its client has not taken, as far as this process knows. */
  readonly unsentBytes: number;
  /** What is written is on its way after the next `flush`, not before. */
  write(frame: Frame): void;
  /** False: its client has taken so little that it has to go on at its own pace. */
  flush(): boolean;
  /** Resolves when its client has taken what was written. @throws the signal's reason */
  drained(signal: AbortSignal): Promise<void>;
}

/** How the events of a group are executed, as long as it lasts. */
export interface SharedExecution {
  /** Of nobody in particular: it has the permissions that all members have. */
  readonly context: Context;
  /** The result for one event, as JSON. */
  execute(event: unknown): string | Promise<string>;
  /** Counts events that were handed to so many members. */
  delivered(members: number): void;
}

/** What makes an operation one of those that are told the same. */
export interface Sharing {
  readonly groups: Groups;
  /** The same for the same document, variables and permissions. */
  readonly key: string;
  readonly sink: Sink;
  /** Tells the client that it does not keep up, and ends what it has open. */
  onSlow(error: AppError): void;
  begin(): SharedExecution;
}

/** A reader who would rather be told by a group than read for itself. */
export interface Joiner<Event extends SharedEvent> {
  readonly sharing: Sharing;
  readonly actor: Actor;
  readonly at: Stand;
  readonly signal: AbortSignal;
  /** The events after a place, as this reader would make them, for all. */
  follow(
    context: Context,
    from: Stand,
    signal: AbortSignal,
  ): AsyncGenerator<Event, void, undefined>;
}

/**
 * Subscribers that are told the same: one reads the log, executes and serializes each event, and all
 * are sent the same text. A reader comes when it stands where the group stands or further on, and
 * what it knows is left out; so it comes exactly between two changes.
 */
export interface Groups {
  /** Groups, and their members, now. */
  figures(): { readonly groups: number; readonly members: number };
  /**
   * Tells the reader through its sink until it has to go on for itself: then where it stands. Null
   * when the group has gone past where the reader stands; then it tries again later.
   *
   * @throws the signal's reason; what the events of the group failed with
   */
  join<Event extends SharedEvent>(joiner: Joiner<Event>): Promise<Stand> | null;
}

/** Written to each member before they are sent on. */
const BATCH_BYTES_MAX = 64 * 1024;
/** Written to all members together before others have a turn. */
const TURN_BYTES_MAX = 4 * 1024 * 1024;

interface Member {
  readonly actor: Actor;
  readonly sink: Sink;
  readonly at: Stand;
  /** What is not newer is known to it. */
  readonly afterSeq: number;
  last: SharedEvent | null;
  isWritten: boolean;
  resolve(stand: Stand): void;
  reject(error: unknown): void;
}

interface Group {
  readonly members: Set<Member>;
  /** No event of a later change was told yet. */
  toldSeq: number;
  /** The change that was told last. */
  lastSeq: number;
  readonly ended: AbortController;
}

export function createGroups(): Groups {
  const groups = new Map<string, Group>();

  function open<Event extends SharedEvent>(joiner: Joiner<Event>): Group {
    const { at, sharing } = joiner;
    const group: Group = {
      members: new Set(),
      toldSeq: at.place.seq,
      lastSeq: Number(at.lastSeq),
      ended: new AbortController(),
    };
    groups.set(sharing.key, group);
    return group;
  }

  function close(key: string, group: Group): void {
    if (groups.get(key) === group) groups.delete(key);
    group.ended.abort();
  }

  return {
    figures() {
      let members = 0;
      for (const group of groups.values()) members += group.members.size;
      return { groups: groups.size, members };
    },
    join(joiner) {
      const { at, sharing, signal } = joiner;
      if (signal.aborted) return null;
      const known = groups.get(sharing.key);
      if (known !== undefined && !isBehind(known, at)) return null;
      const group = known ?? open(joiner);
      const told = enter(group, joiner, () => {
        if (group.members.size === 0) close(sharing.key, group);
      });
      if (known === undefined) void run(group, joiner, () => close(sharing.key, group));
      return told;
    },
  };
}

/** Whether all that the group is going to tell is new to a reader, or known to be told already. */
function isBehind({ toldSeq, lastSeq }: Group, { place, seenSeq }: Stand): boolean {
  // A client takes it for a gap when the change before the next one is newer than what it has seen.
  return toldSeq <= place.seq && lastSeq <= Number(seenSeq);
}

function enter<Event extends SharedEvent>(
  group: Group,
  { actor, sharing: { sink }, at, signal }: Joiner<Event>,
  onLeft: () => void,
): Promise<Stand> {
  return new Promise((resolve, reject) => {
    const leave = () => {
      if (!group.members.delete(member)) return;
      signal.removeEventListener('abort', abort);
      if (member.isWritten) sink.flush();
      onLeft();
    };
    const abort = () => member.reject(signal.reason);
    const member: Member = {
      actor,
      sink,
      at,
      afterSeq: at.place.seq,
      last: null,
      isWritten: false,
      resolve(stand) {
        leave();
        resolve(stand);
      },
      reject(error) {
        leave();
        reject(error);
      },
    };
    group.members.add(member);
    signal.addEventListener('abort', abort, { once: true });
  });
}

/**
 * Tells the members until there is none, or until the log cannot be followed any further. It never
 * fails: its members do. Nobody may join after `close`.
 */
async function run<Event extends SharedEvent>(
  group: Group,
  joiner: Joiner<Event>,
  close: () => void,
): Promise<void> {
  const { signal } = group.ended;
  try {
    const { context, execute, delivered } = joiner.sharing.begin();
    const batch = createBatch(group);
    for await (const event of joiner.follow(context, joiner.at, signal)) {
      const made = execute(event);
      // Waiting for what is there already would cost a turn.
      const text = typeof made === 'string' ? made : await made;
      if (group.members.size === 0) return;
      delivered(tell(group, event, text, context));
      if (batch.add(text.length)) await nextTurn();
    }
    close();
    for (const member of group.members) member.resolve(standOf(member));
  } catch (error) {
    close();
    for (const member of group.members) member.reject(error);
  }
}

/** To how many. */
function tell(group: Group, event: SharedEvent, text: string, { services }: Context): number {
  const frame: Frame = { cursor: event.cursor, text, made: null };
  const seq = Number(event.seq);
  const isChange = event.kind !== 'HEARTBEAT';
  // A heartbeat says again what is known.
  const least = isChange ? seq : seq + 1;
  let told = 0;
  let actor: Actor | null = null;
  let isCurrent = true;
  group.toldSeq = Math.max(group.toldSeq, seq);
  if (isChange) group.lastSeq = seq;
  for (const member of group.members) {
    if (member.afterSeq >= least) continue;
    // Most members have the same key.
    if (member.actor !== actor) isCurrent = services.isCurrent(member.actor);
    actor = member.actor;
    if (!isCurrent) {
      member.resolve(standOf(member));
      continue;
    }
    member.sink.write(frame);
    member.isWritten = true;
    member.last = event;
    told += 1;
  }
  return told;
}

/** Sends what was written once nothing more is there to be told, or when it is much. */
function createBatch(group: Group) {
  let bytes = 0;
  let isScheduled = false;

  function flush(): void {
    bytes = 0;
    for (const member of group.members) {
      if (!member.isWritten) continue;
      member.isWritten = false;
      if (!member.sink.flush()) member.resolve(standOf(member));
    }
  }

  return {
    flush,
    /** Whether it is much. */
    add(more: number): boolean {
      bytes += more;
      if (bytes > BATCH_BYTES_MAX || bytes * group.members.size > TURN_BYTES_MAX) {
        flush();
        return true;
      }
      if (isScheduled) return false;
      isScheduled = true;
      // The first goes at once. What the log has beside it is sent together, after all promises
      // that are settled.
      flush();
      process.nextTick(() => {
        isScheduled = false;
        flush();
      });
      return false;
    },
  };
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

function standOf({ at, last }: Member): Stand {
  if (last === null) return at;
  const place = decodeCursor(last.cursor);
  // Amid the events of one change its cursor is the place before, and so is its seq.
  const isWhole = last.kind !== 'HEARTBEAT' && place.seq === Number(last.seq);
  return {
    place,
    lastSeq: isWhole ? last.seq : (last.previousSeq ?? at.lastSeq),
    seenSeq: last.seq,
  };
}
