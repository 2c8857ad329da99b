import { type Command, InvalidArgumentError, Option } from 'commander';
import { mayHaveAllAccounts } from '../access.ts';
import { issueApiKey } from '../datasources/api-key.ts';
import { NO_RECORDER } from '../datasources/change-recorder.ts';
import { createDatasources, type Datasources } from '../datasources/datasources.ts';
import { instantOf, parseInstant } from '../datasources/instant.ts';
import { createUnitsOfWork, type Unit } from '../datasources/unit-of-work.ts';
import { FatalError } from '../errors.ts';
import { type Offline, withDatabase } from './offline.ts';

const ROLES = ['VIEWER', 'ANALYST', 'BOT', 'OPERATOR', 'ADMIN'] as const;

interface CreateOptions {
  readonly role: (typeof ROLES)[number];
  readonly accounts: readonly string[];
  readonly expires?: string;
}

export function addKeysCommand(program: Command): void {
  const keys = program.command('keys').description('API keys, straight in the database.');
  keys
    .command('list')
    .description('Print every key; secrets are not kept.')
    .action(() =>
      withDatabase(async ({ database, call }) => {
        const { apiKeys } = createDatasources(database.interactive.sql(call('keys')), NO_RECORDER);
        for (const key of await apiKeys.list()) {
          const state = key.revokedAt === null ? 'active' : `revoked ${key.revokedAt}`;
          const accounts = key.accounts.length === 0 ? 'all accounts' : key.accounts.join(',');
          process.stdout.write(`${key.id}  ${key.role}  ${accounts}  ${state}  ${key.name}\n`);
        }
      }),
    );
  keys
    .command('create')
    .description('Make a key and print it, once.')
    .argument('<name>', 'what or whom it is for')
    .addOption(new Option('--role <role>').choices(ROLES).default('BOT'))
    .option(
      '--accounts <ids>',
      'comma separated; none: every account, for an OPERATOR or ADMIN only',
      toList,
      [],
    )
    .option('--expires <instant>', 'RFC 3339', toInstant)
    .action((name: string, options: CreateOptions, command: Command) => {
      const { accounts, role } = options;
      if (accounts.length === 0 && !mayHaveAllAccounts(role)) {
        command.error(`error: name its accounts with --accounts: a ${role} is not for all of them`);
      }
      return withDatabase((all) => create(all, name, options));
    });
  keys
    .command('revoke')
    .description('End a key; a running server notices within seconds.')
    .argument('<id>')
    .action((id: string) =>
      withDatabase(async (offline) => {
        const isRevoked = await change(offline, ({ apiKeys }) => apiKeys.revoke(id));
        if (!isRevoked) throw new FatalError(`There is no active key ${JSON.stringify(id)}.`);
        process.stdout.write(`revoked ${id}\n`);
      }),
    );
}

async function create(offline: Offline, name: string, options: CreateOptions): Promise<void> {
  const issued = issueApiKey(
    { name, role: options.role, accounts: options.accounts, expiresAt: options.expires ?? null },
    instantOf(Date.now()),
  );
  await change(offline, async ({ accounts, apiKeys }) => {
    for (const id of options.accounts) await accounts.get(id);
    await apiKeys.insert(issued.key);
  });
  process.stdout.write(`${issued.token}\n`);
}

async function change<T>(
  { database, call }: Offline,
  work: (datasources: Datasources, unit: Unit) => Promise<T>,
): Promise<T> {
  const units = createUnitsOfWork(database, () => {});
  const request = {
    call: call('keys'),
    actor: 'cli',
    operationName: 'keys',
    idempotency: null,
  };
  const outcome = await units.run(request, async (datasources, unit) => ({
    response: await work(datasources, unit),
    failure: null,
    serialize: () => ({ text: '', isShortened: false }),
  }));
  if (outcome.kind === 'replayed') throw new Error('a unit without a key was replayed');
  return outcome.response;
}

function toList(text: string): readonly string[] {
  return text.split(',').map((part) => part.trim());
}

function toInstant(text: string): string {
  const instant = parseInstant(text);
  if (instant === null) throw new InvalidArgumentError('Write it like 2026-12-31T00:00:00Z.');
  return instant;
}
