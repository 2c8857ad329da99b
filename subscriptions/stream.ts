import { AppError } from '../errors.ts';

/**
 * A generator that can be ended while it waits: `return`, or an abort of `outer`, aborts the signal
 * it was given, and what it waits for must end with that. A plain async generator would go on
 * waiting until its next event, and hold what it holds until then. Ended so, it is done, not failed;
 * unless the reason of `outer` is an AppError, which its reader is to see.
 */
export function stream<Event>(
  generate: (signal: AbortSignal) => AsyncGenerator<Event, void, undefined>,
  outer?: AbortSignal,
): AsyncGenerator<Event, void, undefined> {
  const ended = new AbortController();
  const source = generate(ended.signal);
  const end = () => ended.abort();
  let isFinished = false;
  if (outer?.aborted) end();
  else outer?.addEventListener('abort', end, { once: true });

  async function settle(
    step: Promise<IteratorResult<Event, void>>,
  ): Promise<IteratorResult<Event, void>> {
    try {
      const result = await step;
      if (result.done) outer?.removeEventListener('abort', end);
      return result;
    } catch (error) {
      outer?.removeEventListener('abort', end);
      if (ended.signal.aborted) return finish();
      throw error;
    }
  }

  /** Done; or failed, once, with what `outer` was aborted for. */
  function finish(): IteratorResult<Event, void> {
    const reason: unknown = outer?.reason;
    if (isFinished || !(reason instanceof AppError)) return { done: true, value: undefined };
    isFinished = true;
    throw reason;
  }

  async function close(): Promise<IteratorResult<Event, void>> {
    end();
    outer?.removeEventListener('abort', end);
    return settle(source.return());
  }

  return {
    async next() {
      if (!ended.signal.aborted) return settle(source.next());
      await close();
      return finish();
    },
    return() {
      isFinished = true;
      return close();
    },
    async throw(error) {
      await close();
      throw error;
    },
    [Symbol.asyncIterator]() {
      return this;
    },
    async [Symbol.asyncDispose]() {
      await close();
    },
  };
}
