import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { connect } from '../../../datasources/postgres.ts';
import { readTarget } from '../../../datasources/postgres-target.ts';
import { FatalError } from '../../../errors.ts';
import { AUTHORITY_FILE } from '../../support/tls.ts';

const read = (url: string, isTlsOn = true) => readTarget({ url, isPrepareOn: true, isTlsOn });

const faultOf = (url: string): FatalError => {
  try {
    read(url);
  } catch (error) {
    if (error instanceof FatalError) return error;
    throw error;
  }
  throw new Error(`${url} was taken`);
};

describe('a database URL', () => {
  it('is taken apart, with what is escaped', () => {
    expect(
      read('postgres://bot%40x:p%3Aw%2Fd@db.example:6543/trades?application_name=one'),
    ).toEqual({
      endpoint: { host: 'db.example', port: 6543, path: null, tls: { ca: undefined } },
      user: 'bot@x',
      password: 'p:w/d',
      database: 'trades',
      parameters: { application_name: 'one' },
    });
  });

  it('names the database as the user where it names none', () => {
    expect(read('postgresql://bot@localhost')).toMatchObject({ user: 'bot', database: 'bot' });
  });

  it('may name the folder of a Unix socket', () => {
    expect(read('postgres://bot@/trades?host=/run/pg').endpoint).toEqual({
      host: '/run/pg',
      port: 5432,
      path: '/run/pg/.s.PGSQL.5432',
      tls: null,
    });
  });

  it.each([
    ['postgres://a@db.example/x', true, true],
    ['postgres://a@10.0.0.1/x', true, true],
    ['postgres://a@db.example/x', false, false],
    ['postgres://a@db.example/x?sslmode=disable', true, false],
    ['postgres://a@localhost/x', true, false],
    ['postgres://a@127.0.0.9/x', true, false],
    ['postgres://a@[::1]/x', true, false],
    ['postgres://a@127.example/x', true, true],
    ['postgres://a@localhost/x?sslmode=verify-full', false, true],
  ])('%s with TLS on %s has TLS %s', (url, isTlsOn, isSecured) => {
    expect(read(url, isTlsOn).endpoint.tls !== null).toBe(isSecured);
  });

  it('may name the authority', () => {
    const { endpoint } = read(`postgres://a@db.example/x?sslrootcert=${AUTHORITY_FILE}`);
    expect(endpoint.tls?.ca).toContain('BEGIN CERTIFICATE');
  });

  it.each(['require', 'prefer', 'allow', 'verify-ca'])('with sslmode=%s is refused', (mode) => {
    const { message } = faultOf(`postgres://a:secret@db.example/x?sslmode=${mode}`);
    expect(message).toContain(`sslmode=${mode}, which does not verify who answers`);
    expect(message).not.toContain('secret');
  });

  it.each([
    'postgres://a:secret@one:5432,two:5432/x',
    'mysql://a:secret@db.example/x',
    'a:secret@db.example',
    'postgres://a:secret@db.example:port/x',
    'postgres://a:secret@db.example/x?pgbouncer=true',
    'postgres://a:secret@db.example/x?sslrootcert=/nowhere/secretless.crt',
    '',
  ])('like %s is refused in one sentence without its password', (url) => {
    const fault = faultOf(url);
    expect(fault.message).toMatch(/^DATABASE_URL |^The sslrootcert /);
    expect(`${inspect(fault)}`.replaceAll('secretless', '')).not.toContain('secret');
  });

  it('does not show its password when the client is inspected', async () => {
    const url = 'postgres://a:secret@localhost/x';
    const client = connect({ url, isPrepareOn: true, isTlsOn: true }, { statementTimeoutMs: 0 });
    expect(inspect(client, { depth: 5, showHidden: true })).not.toContain('secret');
    expect(JSON.stringify(client.options)).not.toContain('secret');
    await client.end({ timeout: 0 });
  });
});
