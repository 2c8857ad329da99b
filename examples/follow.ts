import type { Client } from 'graphql-ws';

/**
 * Keeps a Map equal to the rows of an account: a snapshot first, then every committed change, across
 * any number of lost connections. One file without a dependency but the client that is handed in:
 * copy it.
 *
 *     const client = createClient({ url, connectionParams, retryAttempts: Infinity });
 *     const orders = follow<Order>(client, {
 *       field: 'orderChanges',
 *       account: 'main',
 *       where: '{ status: [OPEN] }',
 *       fields: 'id symbol status quantity',
 *     });
 *     await orders.ready;
 *     orders.rows.get(id);
 */
export interface FollowOptions<Row> {
  readonly field: 'positionChanges' | 'orderChanges';
  readonly account: string;
  /** As GraphQL: `{ status: [OPEN] }`. Left out: every row. */
  readonly where?: string;
  /** What of a row is kept, as GraphQL; `id` must be among it. */
  readonly fields: string;
  /** False leaves out what new marks say of positions: for rows kept without marks and profits. */
  readonly marks?: boolean;
  /** Told after each change of `rows`; null: all of them were replaced. */
  readonly onChange?: (row: Row | null) => void;
}

export interface Followed<Row> {
  /** As of the last event; it is never half a snapshot. */
  readonly rows: ReadonlyMap<string, Row>;
  readonly counts: Readonly<FollowCounts>;
  /** Resolves when the rows are there for the first time. Rejects as `ended` does. */
  readonly ready: Promise<void>;
  /** Resolves after `stop`; rejects with what cannot be mended, such as a key that was revoked. */
  readonly ended: Promise<void>;
  stop(): void;
}

export interface FollowCounts {
  events: number;
  /** Events of changes that are in `rows` already. */
  duplicates: number;
  /** Times that an event says a change before it was not received: all rows are read anew then. */
  gaps: number;
  /** Times that the server could not go on from the last event and began anew. */
  resets: number;
  /** Subscriptions that were begun again here. What the client itself repeats is not seen. */
  resumes: number;
}

interface Event<Row> {
  readonly kind: 'SNAPSHOT' | 'CAUGHT_UP' | 'CHANGE' | 'LEFT' | 'HEARTBEAT' | 'RESET';
  readonly cursor: string;
  readonly seq: string;
  readonly previousSeq: string | null;
  readonly row: Row | null;
}

interface Problem {
  readonly extensions?: { readonly code?: string; readonly retryable?: boolean };
}

/** After an answer that says to try again, and where there is no way to the server. */
const RETRY_MS = 500;

export function follow<Row extends { readonly id: string }>(
  client: Pick<Client, 'subscribe'>,
  options: FollowOptions<Row>,
): Followed<Row> {
  const query = queryOf(options);
  const ready = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<void>();
  // Whoever looks at one of the two has seen it.
  ready.promise.catch(() => {});
  ended.promise.catch(() => {});
  const mirror = createMirror<Row>(options.onChange ?? (() => {}));
  let place: { account: string; after?: string } = { account: options.account };
  let unsubscribe = () => {};
  let isStopped = false;

  function stop(): void {
    isStopped = true;
    unsubscribe();
    ended.resolve();
  }

  function fail(error: unknown): void {
    if (isPassing(error)) {
      again();
      return;
    }
    ready.reject(error);
    ended.reject(error);
    stop();
  }

  function again(): void {
    unsubscribe();
    mirror.counts.resumes += 1;
    setTimeout(begin, RETRY_MS);
  }

  function take(event: Event<Row>): void {
    if (mirror.apply(event)) {
      place.after = event.cursor;
      if (mirror.isReady) ready.resolve();
      return;
    }
    place = { account: options.account };
    begin();
  }

  function begin(): void {
    unsubscribe();
    if (isStopped) return;
    let isCurrent = true;
    const close = client.subscribe<{ event: Event<Row> }>(
      // The client sends this very object again when it connects again: `place` is in it.
      { query, variables: place },
      {
        next({ data, errors }) {
          if (!isCurrent) return;
          if (data?.event) take(data.event);
          else if (errors) fail(errors);
        },
        error: (error) => isCurrent && fail(error),
        complete: () => isCurrent && again(),
      },
    );
    unsubscribe = () => {
      isCurrent = false;
      close();
    };
  }

  begin();
  const { rows, counts } = mirror;
  return { rows, counts, ready: ready.promise, ended: ended.promise, stop };
}

function queryOf({ field, where, fields, marks }: FollowOptions<never>): string {
  const name = field === 'positionChanges' ? 'position' : 'order';
  const filters = [
    where === undefined ? '' : `, where: ${where}`,
    marks === false && name === 'position' ? ', marks: false' : '',
  ];
  const filter = filters.join('');
  return `subscription Follow($account: ID!, $after: String) {
    event: ${field}(account: $account, snapshot: true, after: $after${filter}) {
      kind cursor seq previousSeq row: ${name} { ${fields} } } }`;
}

/** The rows, and what is checked of each event. */
function createMirror<Row extends { readonly id: string }>(onChange: (row: Row | null) => void) {
  const counts: FollowCounts = { events: 0, duplicates: 0, gaps: 0, resets: 0, resumes: 0 };
  const rows = new Map<string, Row>();
  /** A snapshot on its way. */
  let coming: Map<string, Row> | null = null;
  /** Up to which `rows` is told; null: before the first snapshot, and after a loss. */
  let lastSeq: bigint | null = null;

  function replace(): void {
    rows.clear();
    for (const [id, row] of coming ?? []) rows.set(id, row);
    coming = null;
    onChange(null);
  }

  function change({ kind, row }: Event<Row>): void {
    if (row === null) return;
    if (kind === 'LEFT') rows.delete(row.id);
    else rows.set(row.id, row);
    onChange(row);
  }

  function lose(): void {
    coming = new Map();
    lastSeq = null;
  }

  return {
    rows,
    counts,
    get isReady() {
      return lastSeq !== null;
    },
    /** False: something before it was not received, and all rows have to be read anew. */
    apply(event: Event<Row>): boolean {
      const { kind, previousSeq, row } = event;
      const seq = BigInt(event.seq);
      counts.events += 1;
      if (lastSeq !== null && previousSeq !== null && BigInt(previousSeq) > lastSeq) {
        counts.gaps += 1;
        lose();
        return false;
      }
      if (kind === 'RESET') {
        counts.resets += 1;
        lose();
      } else if (kind === 'SNAPSHOT') {
        coming ??= new Map();
        if (row !== null) coming.set(row.id, row);
      } else if (lastSeq !== null && seq < lastSeq) {
        counts.duplicates += 1;
      } else {
        // Resumed from a CAUGHT_UP or HEARTBEAT, the next event names their seq as the one before.
        // Events of one change share its seq: it may come again, and is the same then.
        if (kind === 'CHANGE' || kind === 'LEFT') change(event);
        else if (lastSeq === null) replace();
        lastSeq = seq;
      }
      return true;
    },
  };
}

/** What ends a stream but not its reader: the place to go on from is known. */
function isPassing(error: unknown): boolean {
  if (Array.isArray(error)) {
    return (error as readonly Problem[]).every(
      ({ extensions }) => extensions?.retryable === true || extensions?.code === 'SLOW_CONSUMER',
    );
  }
  // A close of 44xx says that the client is at fault; anything else is the way to the server.
  const { code } = error as { readonly code?: unknown };
  return !(typeof code === 'number' && code >= 4400 && code < 4500);
}
