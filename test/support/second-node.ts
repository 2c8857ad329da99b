import { pino } from 'pino';
import type { Config } from '../../config.ts';
import { startTradewind, type Tradewind } from '../../main.ts';
import { createRequest, type TestServer } from './server.ts';

export interface SecondNode {
  readonly tradewind: Tradewind;
  readonly request: TestServer['request'];
  stop(): Promise<void>;
}

/** Another server over the database of this one, configured like it but for changes; stop it first. */
export async function startSecondNode(
  server: TestServer,
  changes: Partial<Config> = {},
): Promise<SecondNode> {
  const config = { ...server.tradewind.config, ...changes };
  const tradewind = await startTradewind(config, pino({ level: 'silent' }));
  return {
    tradewind,
    request: createRequest(tradewind.url, server.key),
    stop: () => tradewind.stop(),
  };
}
