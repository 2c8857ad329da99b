import type { Client, Sink } from 'graphql-ws';
import type postgres from 'postgres';
import { type Followed, follow } from '../../examples/follow.ts';
import { type CuttableClient, createCuttableClient } from './cuttable.ts';

/** Screens that keep the open positions or orders of an account, and count what reaches them. */
export interface Follower {
  readonly account: string;
  readonly entity: Entity;
  readonly followed: Followed<Row>;
  /** With which codes its connections were closed. */
  readonly closes: readonly number[];
  /** Breaks its socket; how many it had. */
  cut(): number;
  /** Held against the table and the log, once it has them all. */
  compare(sql: postgres.Sql): Promise<Comparison>;
  stop(): void;
}

export type Entity = 'order' | 'position';

export interface Row {
  readonly id: string;
  readonly quantity: string;
  readonly stopLossPrice: string | null;
  readonly version: number;
}

export interface Comparison {
  /** Changes of its rows since its snapshot, by the log. */
  readonly changes: number;
  /** Of these, those that it was not sent. */
  readonly missed: number;
  /** Those that it was sent again. */
  readonly repeated: number;
  readonly rows: readonly Row[];
  readonly stored: readonly Row[];
}

const FIELDS = 'id quantity stopLossPrice version';
const STATUSES = { order: ['PENDING', 'OPEN'], position: ['OPEN'] } as const;

export function startFollower(options: {
  readonly account: string;
  readonly entity: Entity;
  readonly key: string;
  /** Asked for each connection. */
  readonly url: () => string;
}): Follower {
  const { account, entity, key, url } = options;
  const closes: number[] = [];
  const connected: CuttableClient = createCuttableClient({
    url: () => `${url().replace('http', 'ws')}/graphql`,
    connectionParams: { authorization: `Bearer ${key}` },
    on: { closed: (event) => closes.push((event as { readonly code: number }).code) },
    retryWait: () => new Promise((resolve) => setTimeout(resolve, 20 + Math.random() * 80)),
  });
  const heard = listenTo(connected.client);
  const followed = follow<Row>(heard.client, {
    field: entity === 'position' ? 'positionChanges' : 'orderChanges',
    account,
    where: `{ status: [${STATUSES[entity].join(', ')}] }`,
    fields: FIELDS,
  });
  return {
    account,
    entity,
    followed,
    closes,
    cut: connected.cut,
    async compare(sql) {
      const sent = await changesOf(sql, account, entity, heard.fromSeq);
      return {
        changes: sent.length,
        missed: sent.filter((seq) => !heard.times.has(seq)).length,
        repeated: [...heard.times.values()].reduce((sum, times) => sum + times - 1, 0),
        rows: [...followed.rows.values()].sort((one, other) => (one.id < other.id ? -1 : 1)),
        stored: await rowsOf(sql, account, entity),
      };
    },
    stop() {
      followed.stop();
      // It waits for a connection that is on its way, which may fail or never come.
      Promise.resolve(connected.client.dispose()).catch(() => {});
      connected.cut();
    },
  };
}

interface Event {
  readonly kind: string;
  readonly seq: string;
}

/** The client, and what it was sent: how often each change since the snapshot. */
function listenTo(client: Client) {
  const times = new Map<string, number>();
  let fromSeq: string | null = null;
  const hear = ({ kind, seq }: Event) => {
    if (kind === 'CAUGHT_UP') fromSeq ??= seq;
    else if (kind === 'RESET') {
      // A snapshot follows, and stands for all before it.
      fromSeq = null;
      times.clear();
    } else if (kind === 'CHANGE' || kind === 'LEFT') times.set(seq, (times.get(seq) ?? 0) + 1);
  };
  const subscribe: Client['subscribe'] = (payload, sink) =>
    client.subscribe(payload, {
      next(result) {
        const event = (result as { data?: { event?: Event } | null }).data?.event;
        if (event !== undefined) hear(event);
        // Of the same subscription.
        (sink as Sink<unknown>).next(result);
      },
      error: (error) => sink.error(error),
      complete: () => sink.complete(),
    });
  return {
    client: { subscribe },
    times,
    get fromSeq() {
      return fromSeq ?? '0';
    },
  };
}

async function changesOf(
  sql: postgres.Sql,
  account: string,
  entity: Entity,
  fromSeq: string,
): Promise<readonly string[]> {
  const statuses = arrayOf(STATUSES[entity]);
  const rows = await sql<{ seq: string }[]>`
    select seq from changes
    where account_id = ${account} and entity = ${entity} and seq > ${fromSeq}
      and (before ->> 'status' = any(${statuses}::text[])
        or after ->> 'status' = any(${statuses}::text[]))`;
  return rows.map(({ seq }) => seq);
}

async function rowsOf(sql: postgres.Sql, account: string, entity: Entity): Promise<readonly Row[]> {
  const rows = await sql<Row[]>`
    select ${entity} || '.' || account_id || '.' || id as id, trim_scale(quantity) as quantity,
      trim_scale(stop_loss_price) as "stopLossPrice", version
    from ${sql(`${entity}s`)}
    where account_id = ${account} and status = any(${arrayOf(STATUSES[entity])}::text[])`;
  return [...rows].sort((one, other) => (one.id < other.id ? -1 : 1));
}

/** The driver is not told the types of parameters. */
function arrayOf(words: readonly string[]): string {
  return `{${words.join(',')}}`;
}
