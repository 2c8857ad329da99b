import { type Batch, type BatchOptions, inputOf, type Result } from './documents.ts';
import { type Item, makeSymbol } from './make.ts';
import type { TestServer } from './server.ts';

export interface SignalNode {
  readonly id: string;
  readonly status: string;
  readonly createdAt: string;
  readonly expiresAt: string;
  readonly processedAt: string | null;
}

export type SignalResult = Result & { readonly signal: SignalNode | null };

const RESULTS = `counts {
  created updated unchanged replayed conflict notFound rejected notAttempted
} results {
  index status error { code message path } signal {
    id exchange symbol type status strength confidence strategy suggestedPrice suggestedStopLoss
    suggestedTakeProfit suggestedQuantity metadata createdAt expiresAt processedAt
  }
}`;

export const CREATE_SIGNALS = `mutation ($input: CreateSignalsInput!) {
  createSignals(input: $input) { ${RESULTS} }
}`;
export const PROCESS_SIGNALS = `mutation ($input: ProcessSignalsInput!) {
  processSignals(input: $input) { ${RESULTS} }
}`;

/** An item that is accepted as it is. */
export function signalItem(changes: Item = {}): Item {
  return {
    exchange: 'bybit',
    symbol: makeSymbol(),
    type: 'LONG',
    strength: 0.8,
    confidence: 0.7,
    strategy: 'trend',
    ...changes,
  };
}

export async function createSignals(
  server: TestServer,
  items: readonly Item[],
  options: BatchOptions = {},
): Promise<Batch<SignalResult>> {
  type Data = { readonly createSignals: Batch<SignalResult> };
  return (await server.data<Data>(CREATE_SIGNALS, inputOf(items, options), options)).createSignals;
}

/** The signal that an accepted item created. */
export async function createSignal(server: TestServer, changes: Item = {}): Promise<SignalNode> {
  const { results } = await createSignals(server, [signalItem(changes)]);
  const signal = results[0]?.signal;
  if (!signal) throw new Error('no signal was created');
  return signal;
}
