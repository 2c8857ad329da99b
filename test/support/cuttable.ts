import { type Client, type ClientOptions, createClient } from 'graphql-ws';
import { WebSocket } from 'ws';

export interface CuttableClient {
  readonly client: Client;
  /** Breaks the sockets that it has, as a network would; how many there were. */
  cut(): number;
}

/** The stock client, over sockets that a test can break. */
export function createCuttableClient(options: ClientOptions): CuttableClient {
  const sockets = new Set<WebSocket>();
  class Cuttable extends WebSocket {
    constructor(...args: ConstructorParameters<typeof WebSocket>) {
      super(...args);
      sockets.add(this);
      this.once('close', () => sockets.delete(this));
    }
  }
  const client = createClient({
    webSocketImpl: Cuttable,
    retryAttempts: Number.POSITIVE_INFINITY,
    retryWait: async () => {},
    ...options,
  });
  return {
    client,
    cut() {
      const count = sockets.size;
      for (const socket of sockets) socket.terminate();
      return count;
    },
  };
}
