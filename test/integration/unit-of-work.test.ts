import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  inputOf,
  OPEN,
  open,
  openOne,
  type PositionNode,
  PREDICT,
  refusalOf,
  statusesOf,
  UPDATE,
} from '../support/documents.ts';
import { eventually } from '../support/eventually.ts';
import { many, openItem, predictionItem } from '../support/make.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

let server: TestServer;

beforeAll(async () => {
  // A deadlock is found by the server's session first: the tests' own wait for longer.
  server = await startTestServer({ sessionOptions: '-c deadlock_timeout=10ms' });
});

afterAll(() => server.stop());

const THREE = `mutation three(
  $open: OpenPositionsInput!, $predict: LogPredictionsInput!, $close: ClosePositionsInput!
) {
  openPositions(input: $open) { results { status position { id version } } }
  logPredictions(input: $predict) { results { status } }
  closePositions(input: $close) { results { status position { version } } }
}`;

/** Opens a position and closes it by its name, with a prediction in between. */
function threeFields(closed: { readonly price: string } = { price: '110' }) {
  const item = openItem();
  const { exchange, symbol, side } = item;
  return {
    open: { account: 'main', items: [item] },
    predict: { account: 'main', items: [predictionItem()] },
    close: { account: 'main', items: [{ exchange, symbol, side, ...closed }] },
  };
}

function commandsOf(statements: readonly string[]): readonly string[] {
  const commands = statements.filter((name) => name.startsWith('transaction.'));
  return commands.map((name) => name.slice('transaction.'.length));
}

function rowIdOf({ id }: PositionNode): string {
  return id.split('.')[2] ?? '';
}

function lockRow(session: ReturnType<TestServer['connect']>, position: PositionNode) {
  return session`select id from positions where id = ${rowIdOf(position)} for update`.execute();
}

beforeAll(async () => {
  // The month of the predictions is there.
  await server.data(PREDICT, inputOf([predictionItem()]));
});

describe('an operation', () => {
  it('is one transaction, however many fields it has', async () => {
    server.statements();
    const data = await server.data(THREE, threeFields());
    expect(data).toMatchObject({
      openPositions: { results: [{ status: 'CREATED', position: { version: 1 } }] },
      logPredictions: { results: [{ status: 'CREATED' }] },
      closePositions: { results: [{ status: 'UPDATED', position: { version: 2 } }] },
    });
    expect(commandsOf(server.statements())).toEqual(['begin', 'commit']);
  });

  it('stores nothing of its first two fields when the third is refused', async () => {
    const before = await server.inventory();
    const answer = await server.request(THREE, threeFields({ price: '-1' }));
    expect(answer.data).toBeNull();
    expect(refusalOf(answer)).toMatchObject({
      path: ['closePositions'],
      extensions: { code: 'BATCH_REJECTED', executed: 'NO' },
    });
    expect(await server.inventory()).toEqual(before);
  });

  it('stores nothing when a field far below its own fails', async () => {
    const { id } = await openOne(server, openItem());
    const before = await server.inventory();
    await server.sql`alter table marks rename to marks_away`;
    const document = `mutation ($input: UpdatePositionsInput!) {
      updatePositions(input: $input) { results { position { markPrice } } }
    }`;
    const answer = await server.request(document, inputOf([{ id, leverage: '2' }]));
    await server.sql`alter table marks_away rename to marks`;
    expect(answer.data).toBeNull();
    expect(answer.errors[0]).toMatchObject({
      path: ['updatePositions', 'results', 0, 'position', 'markPrice'],
      extensions: { code: 'INTERNAL_SERVER_ERROR', executed: 'NO' },
    });
    expect(answer.text).not.toContain('marks_away');
    expect(await server.inventory()).toEqual(before);
  });

  it('cannot be answered in parts', async () => {
    const before = await server.inventory();
    const document = OPEN.replace('counts {', '... @defer { results { index } } counts {');
    const { errors } = await server.request(document, inputOf([openItem()]));
    expect(errors[0]?.extensions).toMatchObject({ executed: 'NO' });
    expect(await server.inventory()).toEqual(before);
  });

  it('tells which changes it has committed', async () => {
    const { extensions } = await server.request(THREE, threeFields());
    const [head] = await server.sql`select seq from account_heads where account_id = 'main'`;
    expect(extensions.commit).toEqual([{ account: 'main', seq: head?.seq }]);
  });

  it('is carried out to its end when its client has gone', async () => {
    const position = await openOne(server, openItem());
    const holder = server.connect();
    await holder`begin`;
    await lockRow(holder, position);
    const gone = new AbortController();
    const sent = fetch(`${server.url}/graphql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${server.key}` },
      body: JSON.stringify({
        query: UPDATE,
        variables: inputOf([{ id: position.id, leverage: '7' }]),
      }),
      signal: gone.signal,
    });
    await server.untilBlocked(1);
    gone.abort();
    await expect(sent).rejects.toThrow();
    await holder`rollback`;
    await eventually(async () => {
      const rows = await server.sql`select version from positions where id = ${rowIdOf(position)}`;
      expect([...rows]).toEqual([{ version: 2 }]);
    });
  });
});

describe('what comes between', () => {
  it('a deadlock makes the operation run again, and it succeeds', async () => {
    const [first, second, third] = [
      await openOne(server, openItem()),
      await openOne(server, openItem()),
      await openOne(server, openItem()),
    ];
    const [other, holder] = [server.connect(), server.connect()];
    await other`set deadlock_timeout = '60s'`;
    await other`begin`;
    await lockRow(other, first);
    await holder`begin`;
    await lockRow(holder, third);
    server.statements();
    const running = server.data(
      `mutation (
        $a: UpdatePositionsInput!, $b: UpdatePositionsInput!, $c: UpdatePositionsInput!
      ) {
        a: updatePositions(input: $a) { results { status } }
        b: updatePositions(input: $b) { results { status } }
        c: updatePositions(input: $c) { results { status } }
      }`,
      Object.fromEntries(
        [second, third, first].map(({ id }, index) => [
          'abc'.charAt(index),
          { account: 'main', items: [{ id, leverage: '3', expectedVersion: 1 }] },
        ]),
      ),
    );
    await server.untilBlocked(1);
    const crossing = lockRow(other, second);
    await server.untilBlocked(2);
    await holder`rollback`;
    // The server has the second row and wants the first, this session the other way round.
    await crossing;
    await other`rollback`;
    const updated = { results: [{ status: 'UPDATED' }] };
    expect(await running).toEqual({ a: updated, b: updated, c: updated });
    expect(commandsOf(server.statements())).toEqual(['begin', 'rollback', 'begin', 'commit']);
  });

  describe('with a trigger that fails', () => {
    beforeAll(async () => {
      await server.sql.unsafe(`
        create sequence failures minvalue 0;
        create function fail_first() returns trigger language plpgsql as $$
        begin
          if nextval('failures') < coalesce(new.metadata ->> 'failures', '0')::int then
            raise exception 'could not serialize' using errcode = '40001';
          end if;
          return new;
        end $$;
        create trigger fail_first before insert on positions
          for each row execute function fail_first()`);
    });

    it('a serialization failure makes the operation run again, and it succeeds', async () => {
      await server.sql`select setval('failures', 0, false)`;
      server.statements();
      const batch = await open(server, [openItem({ metadata: { failures: 1 } })]);
      expect(statusesOf(batch)).toEqual(['CREATED']);
      expect(commandsOf(server.statements())).toEqual(['begin', 'rollback', 'begin', 'commit']);
    });

    it('after four of them the client is told that it may try again', async () => {
      await server.sql`select setval('failures', 0, false)`;
      const before = await server.inventory();
      server.statements();
      const answer = await server.request(OPEN, inputOf([openItem({ metadata: { failures: 9 } })]));
      expect(refusalOf(answer).extensions).toMatchObject({
        code: 'SERIALIZATION_FAILURE',
        retryable: true,
        executed: 'NO',
      });
      expect(commandsOf(server.statements()).filter((one) => one === 'begin')).toHaveLength(4);
      expect(await server.inventory()).toEqual(before);
    });
  });

  it('a deadline that passes while it waits for a row ends it, and nothing is stored', async () => {
    const position = await openOne(server, openItem());
    const holder = server.connect();
    await holder`begin`;
    await lockRow(holder, position);
    const before = await server.inventory();
    const answer = await server.request(UPDATE, inputOf([{ id: position.id, leverage: '9' }]), {
      headers: { 'x-deadline-ms': '50' },
    });
    expect(refusalOf(answer).extensions).toMatchObject({
      code: 'DEADLINE_EXCEEDED',
      retryable: true,
      executed: 'NO',
    });
    await holder`rollback`;
    // The statement that nobody waits for goes on until its session notices.
    await eventually(async () => {
      const busy = await server.sql`
        select pid from pg_stat_activity where datname = current_database()
          and application_name = 'tradewind trading' and state <> 'idle'`;
      expect(busy).toHaveLength(0);
    });
    expect(await server.inventory()).toEqual(before);
  });
});

interface ChangeRow {
  readonly seq: string;
  readonly at: string;
  readonly entity: string;
  readonly operation: string;
  readonly ids: readonly string[];
  readonly count: number;
  readonly before: Readonly<Record<string, unknown>> | null;
  readonly after: Readonly<Record<string, unknown>> | null;
}

function changesAfter(seq: string) {
  return server.sql<ChangeRow[]>`
    select seq, at, entity, operation, ids, count, before, after, actor, request_id, operation_name
    from changes where account_id = 'main' and seq > ${seq} order by seq`;
}

async function headSeq(): Promise<string> {
  const [row] = await server.sql`select seq from account_heads where account_id = 'main'`;
  return String(row?.seq);
}

describe('the change log', () => {
  it('has a row for each change in the order in which it was made', async () => {
    const seq = await headSeq();
    const options = { headers: { 'x-request-id': 'log-1' } };
    const answer = await server.request<{
      openPositions: { results: { position: { id: string } }[] };
    }>(THREE, threeFields(), options);
    const rows = await changesAfter(seq);
    const id = answer.data?.openPositions.results[0]?.position.id.split('.')[2];
    expect(rows.map(({ entity, operation }) => `${operation} ${entity}`)).toEqual([
      'INSERT position',
      'INSERT trade',
      'INSERT prediction',
      'UPDATE position',
      'INSERT trade',
    ]);
    const [opened, , predicted, closed] = rows;
    expect(opened).toMatchObject({ ids: [id], count: 1, before: null });
    expect(predicted).toMatchObject({ count: 1, before: null, after: null });
    expect(closed).toMatchObject({ ids: [id], count: 1, before: opened?.after });
    expect(closed?.after).toMatchObject({
      status: 'CLOSED',
      quantity: '0',
      realizedPnl: '20',
      version: 2,
    });
    const [key] = await server.sql`select id from api_keys where name = 'first key'`;
    for (const row of rows) {
      expect(row).toMatchObject({
        actor: `key:${key?.id}`,
        requestId: 'log-1',
        operationName: 'three',
      });
    }
  });

  it('names an operation without a name by its fields', async () => {
    const seq = await headSeq();
    const document = OPEN.replace('mutation openPositions', 'mutation');
    await server.data(document, inputOf([openItem()]));
    const [first] = await changesAfter(seq);
    expect(first).toMatchObject({ operationName: 'openPositions' });
  });

  it('is in the order of the items of a batch', async () => {
    const seq = await headSeq();
    const items = many(40, () => openItem());
    await open(server, items);
    const rows = await changesAfter(seq);
    const symbols = rows.flatMap((row) => (row.entity === 'position' ? [row.after?.symbol] : []));
    expect(symbols).toEqual(items.map((item) => item.symbol));
  });

  it('counts 1, 2, 3 without holes while operations overlap and some are refused', async () => {
    const operations = Array.from({ length: 60 }, (_none, index) =>
      server.request(THREE, threeFields({ price: index % 3 === 0 ? '0' : '110' })),
    );
    const answers = await Promise.all(operations);
    expect(answers.filter(({ data }) => data !== null)).toHaveLength(40);
    const rows = await changesAfter('0');
    expect(rows.map((row) => Number(row.seq))).toEqual(rows.map((_row, index) => index + 1));
    expect(rows.at(-1)?.seq).toBe(await headSeq());
    const instants = rows.map((row) => row.at);
    expect(instants).toEqual([...instants].sort());
  });

  it('has the changes of one operation beside each other', async () => {
    const rows = await server.sql`
      select request_id from (
        select request_id, lag(request_id) over (order by seq) as previous
        from changes where account_id = 'main') as steps
      where previous is distinct from request_id
      group by request_id having count(*) > 1`;
    expect([...rows]).toEqual([]);
  });
});
