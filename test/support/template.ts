/** The database that the tests' own ones are cloned from: migrated, and empty. */
export const TEMPLATE = 'tradewind_template';
