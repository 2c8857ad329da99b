import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect as netConnect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { createTlsFront } from '../../support/tls.ts';

// What the driver does by itself, as installed. When one of these fails, upstream has changed:
// docs/library-canaries.md says which part of ours stands on it.

let database: TestDatabase;
let admin: postgres.Sql;
const clients: postgres.Sql[] = [];

beforeAll(async () => {
  database = await createTestDatabase({ migrated: false });
  admin = open();
});

afterAll(async () => {
  await Promise.all(clients.map((client) => client.end({ timeout: 0 })));
  await database.drop();
});

function openOptions() {
  const { socketPath: path, user, database: name } = database.target;
  return { path, user, database: name, max: 1, onnotice: () => undefined };
}

// The library's types leave out options that it has.
function open(options: Record<string, unknown> = {}): postgres.Sql {
  const client = postgres({ ...openOptions(), ...options } as postgres.Options<
    Record<string, postgres.PostgresType>
  >);
  clients.push(client);
  return client;
}

/** What escaped from a script that was run with the stock driver in a process of its own. */
async function escapesOf(script: string): Promise<string> {
  const prelude = `
    import net from 'node:net';
    import postgres from 'postgres';
    const options = ${JSON.stringify(openOptions())};
    const open = (more) => postgres({ ...options, onnotice() {}, ...more });
    const escape = (error) => {
      process.stdout.write(error.message);
      process.exit(1);
    };
    process.on('uncaughtException', escape).on('unhandledRejection', escape);
  `;
  const child = spawn(process.execPath, ['--input-type=module', '-e', prelude + script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  await once(child, 'exit');
  return output;
}

describe('postgres 3.4.9 ends the process', () => {
  it('when a backend dies inside sql.begin', async () => {
    const escaped = await escapesOf(`
      const admin = open({ max: 1 });
      await open({ max: 1 }).begin(async (sql) => {
        const [{ pid }] = await sql\`select pg_backend_pid() as pid\`;
        const running = sql\`select pg_sleep(60)\`.execute();
        running.catch(() => {});
        await admin\`select pg_terminate_backend(\${pid})\`;
        await running;
      }).catch(() => {});
      await admin\`select pg_sleep(0.1)\`;
      process.exit();`);
    expect(escaped).toBe("Cannot read properties of null (reading 'write')");
  });

  it('when a connection breaks while it looks up the types', async () => {
    const escaped = await escapesOf(`
      const socket = () => {
        const opened = net.connect({ path: options.path });
        const write = opened.write.bind(opened);
        opened.write = (chunk, ...rest) =>
          String(chunk).includes('pg_type') ? opened.destroy(new Error('broken')) : write(chunk, ...rest);
        return opened;
      };
      await open({ max: 1, socket })\`select 1\`.catch(() => {});
      await open({ max: 1 })\`select 1\`;
      process.exit();`);
    expect(escaped).toBe('broken');
  });
});

describe('postgres 3.4.9 loses its way', () => {
  it('and commits the second half of a transaction whose connection was lost', async () => {
    const sql = open();
    await admin`create table halves (name text)`;
    await sql.unsafe('begin');
    await sql`insert into halves values ('first')`;
    const [row] = await sql`select pg_backend_pid() as pid`;
    await admin`select pg_terminate_backend(${row?.pid})`;
    await expect
      .poll(() =>
        sql`insert into halves values ('second')`.then(
          () => 'stored',
          () => 'failed',
        ),
      )
      .toBe('stored');
    const stored = await admin`select distinct name from halves`;
    expect(stored.map(({ name }) => name)).toEqual(['second']);
  });

  it('and never settles a query between the error of a socket and its close', async () => {
    let socket: Socket | undefined;
    const closed = Promise.withResolvers<void>();
    const sql = open({
      socket: () => {
        socket = netConnect({ path: database.target.socketPath ?? '' });
        return socket;
      },
      onclose: closed.resolve,
    });
    await sql`select 1`;
    let isSettled = false;
    const settle = () => {
      isSettled = true;
    };
    socket?.once('error', () => sql`select 2`.then(settle, settle));
    socket?.destroy(new Error('broken'));
    await closed.promise;
    // A new connection and an answer would have taken less than these.
    for (let count = 0; count < 100; count += 1) await admin`select 1`;
    expect(isSettled).toBe(false);
  });

  it('and connects again and again to a server that hangs up', async () => {
    let connections = 0;
    const path = join(tmpdir(), `tw-canary-${process.pid}`);
    const server = createServer((socket) => {
      connections += 1;
      socket.end();
    });
    await new Promise<void>((resolve) => server.listen(path, resolve));
    let isSettled = false;
    const settle = () => {
      isSettled = true;
    };
    const sql = open({ path });
    sql`select 1`.then(settle, settle);
    await expect.poll(() => connections).toBeGreaterThan(10);
    expect(isSettled).toBe(false);
    await sql.end({ timeout: 0 });
    server.close();
  });

  it('and sends queries to a connection that is busy with a slow one', async () => {
    const sql = open({ max: 2 });
    await Promise.all([sql`select pg_sleep(0.01)`, sql`select pg_sleep(0.01)`]);
    const order: string[] = [];
    await Promise.all([
      sql`select pg_sleep(0.2)`.then(() => order.push('slow')),
      ...[1, 2, 3, 4, 5, 6].map((n) => sql`select ${n}::int`.then(() => order.push('fast'))),
    ]);
    expect(order.at(-1)).toBe('fast');
  });
});

describe('postgres 3.4.9 reads', () => {
  it('numeric and int8 as strings, numbers in json as floats, instants to the millisecond', async () => {
    const [row] = await open()`
      select 1.50::numeric as n, 9007199254740993::int8 as i, '[0.1234567890123456789]'::jsonb as j,
        timestamptz '2026-11-23 04:46:08.123456+00' as at`;
    expect(row).toEqual({
      n: '1.50',
      i: '9007199254740993',
      j: [0.12345678901234568],
      at: new Date('2026-11-23T04:46:08.123Z'),
    });
  });

  it('keys inside json in camelCase when columns are', async () => {
    const [row] = await open({ transform: postgres.camel })`select '{"a_b": 1}'::jsonb as c_d`;
    expect(row).toEqual({ cD: { aB: 1 } });
  });

  it('values of rows into the detail of an error', async () => {
    await admin`create table secrets (name text primary key)`;
    await admin`insert into secrets values ('sesame')`;
    const error = await admin`insert into secrets values ('sesame')`.catch((failure) => failure);
    expect(error.detail).toBe('Key (name)=(sesame) already exists.');
  });
});

describe('postgres 3.4.9 sends', () => {
  it('no undefined', async () => {
    const send = async () => admin`select ${undefined as never}`;
    await expect(send()).rejects.toMatchObject({ code: 'UNDEFINED_VALUE' });
  });

  it('an array of booleans as one boolean', async () => {
    const flags = [true, false] as never;
    await expect(admin`select ${flags}::boolean[]`).rejects.toMatchObject({ code: '42846' });
  });

  it('the text "true" as false', async () => {
    expect(await admin`select ${'true'}::boolean as flag`).toEqual([{ flag: false }]);
  });

  it('JSON text quoted once more where the parameter is json', async () => {
    const [row] = await admin`
      select ${'[1]'}::json as quoted, ${'[1]'}::text::json as plain`;
    expect(row).toEqual({ quoted: '[1]', plain: [1] });
  });

  it('the text of an instant without its microseconds', async () => {
    const [row] = await admin`
      select extract(microsecond from ${'2026-11-23T04:46:08.123456Z'}::timestamptz)::int as us`;
    expect(row).toEqual({ us: 8_123_000 });
  });

  it('the binary error of a number', async () => {
    const [row] = await admin`select ${0.1 + 0.2}::numeric as n`;
    expect(row).toEqual({ n: '0.30000000000000004' });
  });

  it('no arrays without looking up the types', async () => {
    const sql = open({ fetch_types: false });
    await expect(sql`select ${['a', 'b']}::text[]`).rejects.toMatchObject({ code: '22P02' });
    expect(await sql`select array['a'] as texts`).toEqual([{ texts: '{a}' }]);
  });

  it.each(['require', 'prefer'])('passwords to anybody with ssl: %s', async (ssl) => {
    const front = await createTlsFront(database.target.socketPath ?? '');
    const sql = open({ path: undefined, host: '127.0.0.1', port: front.port, ssl });
    // The certificate is of another name, by an authority nobody knows.
    expect(await sql`select 1 as one`).toEqual([{ one: 1 }]);
    await sql.end({ timeout: 1 });
    await front.close();
  });
});
