import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '..', '..');

/** The file that imports, and what it imports. Each row is refused by the table of CONVENTIONS. */
const FORBIDDEN: readonly (readonly [string, string])[] = [
  ['errors.ts', "import { readConfig } from './config.ts';"],
  ['config.ts', "import type { Context } from './context.ts';"],
  ['access.ts', "import type { Services } from './server.ts';"],
  ['access.ts', "import { createDatasources } from './datasources/datasources.ts';"],
  ['context.ts', "import { positionType } from './schema/position.ts';"],
  ['context.ts', "import { createDatasources } from './datasources/datasources.ts';"],
  ['server.ts', "import { main } from './main.ts';"],
  ['server.ts', "import { start } from './cli/start.ts';"],
  ['server.ts', "import { Redis } from 'ioredis';"],
  ['main.ts', "import { start } from './cli/start.ts';"],
  ['main.ts', "import { fixture } from './test/support/fixture.ts';"],
  ['schema/position.ts', "import { createPositionRepository } from '../datasources/position.ts';"],
  ['schema/position.ts', "import * as position from '../datasources/position.ts';"],
  ['schema/position.ts', "import '../datasources/position.ts';"],
  ['schema/position.ts', "import type { Sql } from '../datasources/sql.ts';"],
  ['schema/position.ts', "import postgres from 'postgres';"],
  ['schema/position.ts', "import { serve } from '../server.ts';"],
  ['schema/position.ts', "import { readConfig } from '../config.ts';"],
  ['schema/position.ts', "import { page } from '../dashboard/page.ts';"],
  ['resolvers/position.ts', "import { GraphQLError } from 'graphql';"],
  ['resolvers/position.ts', "import { visit } from 'graphql/language';"],
  ['resolvers/position.ts', "import { createYoga } from 'graphql-yoga';"],
  ['resolvers/position.ts', "import SchemaBuilder from '@pothos/core';"],
  ['resolvers/position.ts', "import postgres from 'postgres';"],
  ['resolvers/position.ts', "import { Redis } from 'ioredis';"],
  ['resolvers/position.ts', "import { fragment } from '../datasources/sql.ts';"],
  [
    'resolvers/position.ts',
    "import { createPositionRepository } from '../datasources/position.ts';",
  ],
  ['resolvers/position.ts', "import type { Shape } from '../schema/position.ts';"],
  ['resolvers/position.ts', "import { watch } from '../subscriptions/position.ts';"],
  ['resolvers/position.ts', "import { start } from '../cli/start.ts';"],
  ['resolvers/position.ts', "import { serve } from '../server.ts';"],
  ['resolvers/position.ts', "import { main } from '../main.ts';"],
  ['resolvers/position.ts', "export const lazy = () => import('../schema/position.ts');"],
  ['subscriptions/position.ts', "import { openPositions } from '../resolvers/position.ts';"],
  ['subscriptions/position.ts', "import { builder } from '../schema/builder.ts';"],
  ['subscriptions/position.ts', "import { parse } from 'graphql';"],
  ['subscriptions/position.ts', "import postgres from 'postgres';"],
  ['subscriptions/position.ts', "import { WebSocketServer } from 'ws';"],
  ['datasources/position.ts', "import { builder } from '../schema/builder.ts';"],
  ['datasources/position.ts', "import { openPositions } from '../resolvers/position.ts';"],
  ['datasources/position.ts', "import { watch } from '../subscriptions/position.ts';"],
  ['datasources/position.ts', "import type { Context } from '../context.ts';"],
  ['datasources/position.ts', "import type { Config } from '../config.ts';"],
  ['datasources/position.ts', "import { assertMay } from '../access.ts';"],
  ['datasources/position.ts', "import { start } from '../cli/start.ts';"],
  ['datasources/position.ts', "import { serve } from '../server.ts';"],
  ['datasources/position.ts', "import { main } from '../main.ts';"],
  ['datasources/position.ts', "import { GraphQLError } from 'graphql';"],
  [
    'migrations/migrate.ts',
    "import { createPositionRepository } from '../datasources/position.ts';",
  ],
  ['migrations/migrate.ts', "import { readConfig } from '../config.ts';"],
  ['migrations/migrate.ts', "import { Redis } from 'ioredis';"],
  ['cli/start.ts', "import { fixture } from '../test/support/fixture.ts';"],
  ['cli/demo/bot.ts', "import { fixture } from '../../test/support/fixture.ts';"],
  ['cli/start.ts', "import { measure } from '../bench/measure.ts';"],
  ['cli/start.ts', "import postgres from 'postgres';"],
  ['dashboard/page.ts', "import type { Position } from '../datasources/position.ts';"],
  ['dashboard/page.ts', "import { AppError } from '../errors.ts';"],
  ['examples/bot.ts', "import { openPositions } from '../resolvers/position.ts';"],
];

const ALLOWED: readonly (readonly [string, string])[] = [
  ['config.ts', "import { FatalError } from './errors.ts';"],
  ['access.ts', "import type { Datasources } from './datasources/datasources.ts';"],
  ['context.ts', "import type { ChangeFeed } from './subscriptions/change-feed.ts';"],
  ['server.ts', "import { schema } from './schema/schema.ts';"],
  ['main.ts', "import { serve } from './server.ts';"],
  ['schema/position.ts', "import { openPositions } from '../resolvers/position.ts';"],
  ['schema/position.ts', "import { watch } from '../subscriptions/position.ts';"],
  ['schema/position.ts', "import type { Position } from '../datasources/position.ts';"],
  ['schema/position.ts', "import { globalId } from '../datasources/id.ts';"],
  ['schema/position.ts', "import { builder } from './builder.ts';"],
  ['resolvers/position.ts', "import { requireAccount } from '../access.ts';"],
  ['resolvers/position.ts', "import type { Context } from '../context.ts';"],
  ['resolvers/position.ts', "import type { Position } from '../datasources/position.ts';"],
  ['subscriptions/position.ts', "import { matchesPosition } from '../datasources/position.ts';"],
  ['datasources/position.ts', "import { AppError } from '../errors.ts';"],
  ['datasources/postgres.ts', "import postgres from 'postgres';"],
  ['migrations/migrate.ts', "import { createPostgres } from '../datasources/postgres.ts';"],
  ['cli/start.ts', "import { start } from '../main.ts';"],
  ['bench/bench.ts', "import { fixture } from '../test/support/fixture.ts';"],
  ['test/unit/probe.test.ts', "import { Redis } from 'ioredis';"],
];

interface Finding {
  readonly category: string;
  readonly location: { readonly path: string; readonly start?: { readonly line: number } };
}

const IMPORT_RULES = ['lint/style/noRestrictedImports', 'plugin'];

/** The statements of each file, one a line: a finding's line tells which one is refused. */
const files = new Map<string, string[]>();
for (const [file, statement] of [...FORBIDDEN, ...ALLOWED]) {
  files.set(file, [...(files.get(file) ?? []), statement]);
}
files.set('datasources/cycle-a.ts', [
  "import { b } from './cycle-b.ts';",
  'export const a = () => b;',
]);
files.set('datasources/cycle-b.ts', [
  "import { a } from './cycle-a.ts';",
  'export const b = () => a;',
]);
files.set('datasources/barrel.ts', ["export * from './cycle-a.ts';"]);
files.set('resolvers/environment.ts', ['export const port = process.env.PORT;']);

let findings: readonly Finding[];

// One run of the linter over all rows: starting it for each would take a minute.
beforeAll(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tradewind-layers-'));
  try {
    for (const name of ['biome.json', 'lint', '.gitignore', 'package.json']) {
      await cp(join(ROOT, name), join(folder, name), { recursive: true });
    }
    for (const [file, statements] of files) {
      await mkdir(dirname(join(folder, file)), { recursive: true });
      await writeFile(join(folder, file), `${statements.join('\n')}\n`);
    }
    findings = await lint(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

describe('the linter refuses', () => {
  it.each(FORBIDDEN)('in %s: %s', (file, statement) => {
    expect(rulesBroken(file, statement).filter(isOfImports)).not.toEqual([]);
  });

  it('a cycle', () => {
    const [statement] = files.get('datasources/cycle-a.ts') ?? [];
    expect(rulesBroken('datasources/cycle-a.ts', statement)).toContain(
      'lint/suspicious/noImportCycles',
    );
  });

  it('a file that only passes on what others define', () => {
    expect(rulesBroken('datasources/barrel.ts')).toContain('lint/performance/noReExportAll');
  });

  it('the environment outside config.ts', () => {
    expect(rulesBroken('resolvers/environment.ts')).toContain('lint/style/noProcessEnv');
  });
});

describe('the linter lets pass', () => {
  it.each(ALLOWED)('in %s: %s', (file, statement) => {
    expect(rulesBroken(file, statement).filter(isOfImports)).toEqual([]);
  });
});

function isOfImports(rule: string): boolean {
  return IMPORT_RULES.includes(rule);
}

function rulesBroken(file: string, statement = files.get(file)?.[0] ?? ''): string[] {
  const line = (files.get(file) ?? []).indexOf(statement) + 1;
  return findings
    .filter(({ location }) => location.path === file && location.start?.line === line)
    .map(({ category }) => category);
}

async function lint(folder: string): Promise<readonly Finding[]> {
  const biome = join(ROOT, 'node_modules', '.bin', 'biome');
  const args = ['lint', '--reporter=json', '--max-diagnostics=none', '.'];
  const output = await new Promise<string>((resolve) => {
    // It ends with 1 because it has findings.
    execFile(biome, args, { cwd: folder }, (_error, stdout) => resolve(stdout));
  });
  // The reporter's own format; a change of it fails every row.
  const report = JSON.parse(output) as { readonly diagnostics: readonly Finding[] };
  return report.diagnostics;
}
