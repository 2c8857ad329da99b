import { defineConfig } from 'vitest/config';

export default defineConfig({
  // As Node itself resolves: else a test and its libraries have a GraphQLError each.
  ssr: { resolve: { conditions: ['module-sync', 'node', 'development'] } },
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['./test/support/global-setup.ts'],
    // For what hangs: no test is judged by how long it takes.
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
