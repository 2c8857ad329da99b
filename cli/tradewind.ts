import { Command, CommanderError } from 'commander';
import { FatalError } from '../errors.ts';
import { addDemoCommand } from './demo.ts';
import { addExportCommand } from './export.ts';
import { addKeysCommand } from './keys.ts';
import { addMigrateCommand } from './migrate.ts';
import { addSchemaCommand } from './schema.ts';
import { addStartCommand, addWorkerCommand, startServing } from './start.ts';
import { addVerifyCommand } from './verify.ts';

const WRONG_USAGE = 2;
const FAILED = 1;

const program = new Command('tradewind')
  .description('The GraphQL data plane of trading bots.')
  .exitOverride()
  .showHelpAfterError();

addStartCommand(program);
addWorkerCommand(program);
addDemoCommand(program, startServing);
addMigrateCommand(program);
addKeysCommand(program);
addVerifyCommand(program);
addExportCommand(program);
addSchemaCommand(program);

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    // Commander has printed what is wrong; help that was asked for is no failure.
    process.exitCode = error.exitCode === 0 ? 0 : WRONG_USAGE;
  } else {
    const isExpected = error instanceof FatalError;
    const shown = isExpected ? error.message : error instanceof Error ? error.stack : String(error);
    process.stderr.write(`${shown}\n`);
    process.exitCode = FAILED;
  }
}
