import type { Command } from 'commander';
import { withDatabase } from './offline.ts';

export function addMigrateCommand(program: Command): void {
  program
    .command('migrate')
    .description('Apply the migrations that the database does not have yet.')
    .action(() =>
      withDatabase(async ({ appliedMigrations }) => {
        const names = appliedMigrations.map((name) => `applied ${name}\n`);
        process.stdout.write(names.join('') || 'The database is up to date.\n');
      }),
    );
}
