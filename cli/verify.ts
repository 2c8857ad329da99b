import type { Command } from 'commander';
import { verifyChain } from '../datasources/change.ts';
import { createAccountRepository } from '../datasources/account.ts';
import { NO_RECORDER } from '../datasources/change-recorder.ts';
import { FatalError } from '../errors.ts';
import { withDatabase } from './offline.ts';

export function addVerifyCommand(program: Command): void {
  program
    .command('verify')
    .description('Recompute the hash chain of the change log: altered or missing rows are named.')
    .argument('[account...]', 'accounts; all of them, and _system, when none is named')
    .action((accounts: readonly string[]) =>
      withDatabase(async ({ database, call }) => {
        const sql = database.analytics.sql(call('verify'));
        const ids =
          accounts.length > 0
            ? accounts
            : ['_system', ...(await createAccountRepository(sql, NO_RECORDER).listIds())];
        const faults: string[] = [];
        for (const accountId of ids) {
          const { checked, firstBad } = await verifyChain(sql, accountId);
          process.stdout.write(
            firstBad === null
              ? `${accountId}: ${checked} changes, the chain holds.\n`
              : `${accountId}: broken at seq ${firstBad.seq}: ${firstBad.reason}\n`,
          );
          if (firstBad !== null) faults.push(accountId);
        }
        if (faults.length > 0) {
          throw new FatalError(`The log of ${faults.join(', ')} was altered.`);
        }
      }),
    );
}
