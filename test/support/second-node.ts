import { pino } from 'pino';
import { startTradewind, type Tradewind } from '../../main.ts';
import { createRequest, type TestServer } from './server.ts';

export interface SecondNode {
  readonly tradewind: Tradewind;
  readonly request: TestServer['request'];
  stop(): Promise<void>;
}

/** Another server over the database of this one; stop it first. */
export async function startSecondNode(server: TestServer): Promise<SecondNode> {
  const tradewind = await startTradewind(server.tradewind.config, pino({ level: 'silent' }));
  return {
    tradewind,
    request: createRequest(tradewind.url, server.key),
    stop: () => tradewind.stop(),
  };
}
