import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ENVIRONMENT_VARIABLES, readConfig } from '../../config.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const PASSWORDS = { POSTGRES_PASSWORD: 'first', REDIS_PASSWORD: 'second' };
const COMMANDS = [['docker', 'compose'], ['docker-compose']] as const;

/** The plugin or the older program; undefined where neither is installed. */
const compose = COMMANDS.find(([program, ...first]) => {
  return spawnSync(program, [...first, 'version']).status === 0;
});

describe.skipIf(compose === undefined)('docker-compose config', () => {
  it('accepts the file', () => {
    const { status, output } = config(PASSWORDS);
    expect(output).toContain('postgres://tradewind:first@postgres:5432/tradewind');
    expect(output).toContain('redis://:second@redis:6379');
    expect(status).toBe(0);
  });

  it('passes on how many workers there are', () => {
    expect(config(PASSWORDS).output).toMatch(/WORKERS: ['"]1['"]/);
    expect(config({ ...PASSWORDS, WORKERS: '3' }).output).toMatch(/WORKERS: ['"]3['"]/);
  });

  it.each(Object.keys(PASSWORDS))('refuses to start without %s', (name) => {
    const { status, output } = config({ ...PASSWORDS, [name]: '' });
    expect(output).toContain(`${name} is required`);
    expect(status).not.toBe(0);
  });
});

describe('docker-compose.yml', () => {
  const text = readFileSync(join(ROOT, 'docker-compose.yml'), 'utf8');
  const server = /^ {2}tradewind:\n(?<lines>(?: {4}.*\n|\n)+)/m.exec(text)?.groups?.lines ?? '';
  const environment = /^ {4}environment:\n(?<lines>(?: {6}.*\n)+)/m.exec(server)?.groups?.lines;

  it('publishes on loopback only', () => {
    const published = [...text.matchAll(/^ +- '(?<host>\S+):\$\{PORT:-4000\}:\d+'$/gm)];
    expect(published.map(({ groups }) => groups?.host)).toEqual(['127.0.0.1']);
    expect(text.match(/^ {4}ports:$/gm)).toHaveLength(1);
  });

  it('gives the server variables that it reads and accepts', () => {
    const lines = [...(environment ?? '').matchAll(/^ {6}(?<name>[A-Z_]+): (?<value>.*)$/gm)];
    const given = lines.map(({ groups }) => [groups?.name ?? '', resolved(groups?.value ?? '')]);
    expect(given).not.toEqual([]);
    for (const [name] of given) expect(ENVIRONMENT_VARIABLES).toContain(name);
    expect(readConfig(Object.fromEntries(given))).toMatchObject({ mode: 'production', port: 4000 });
  });

  it('waits longer than a shutdown takes', () => {
    const graceSeconds = Number(/stop_grace_period: (\d+)s/.exec(server)?.[1]);
    expect(graceSeconds * 1000).toBeGreaterThan(readConfig({}).shutdownMs);
  });
});

/** As a shell would have it that knows no variable: the default, else nothing; no quotes. */
function resolved(value: string): string {
  return value.replaceAll(/\$\{\w+(?::-([^}]*)|[^}]*)\}/g, '$1').replaceAll("'", '');
}

function config(environment: Readonly<Record<string, string>>): {
  status: unknown;
  output: string;
} {
  const [program = '', ...first] = compose ?? [];
  const { status, stdout, stderr } = spawnSync(program, [...first, 'config'], {
    cwd: ROOT,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...environment },
    encoding: 'utf8',
  });
  return { status, output: stdout + stderr };
}
