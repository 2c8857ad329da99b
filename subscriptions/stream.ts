/**
 * A generator that can be ended while it waits: `return`, or an abort of `outer`, aborts the signal
 * it was given, and what it waits for must end with that. A plain async generator would go on
 * waiting until its next event, and hold what it holds until then. Ended so, it is done, not failed.
 */
export function stream<Event>(
  generate: (signal: AbortSignal) => AsyncGenerator<Event, void, undefined>,
  outer?: AbortSignal,
): AsyncGenerator<Event, void, undefined> {
  const ended = new AbortController();
  const source = generate(ended.signal);
  const end = () => ended.abort();
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
      if (ended.signal.aborted) return { done: true, value: undefined };
      throw error;
    }
  }

  async function close(): Promise<IteratorResult<Event, void>> {
    end();
    outer?.removeEventListener('abort', end);
    return settle(source.return());
  }

  return {
    next: () => (ended.signal.aborted ? close() : settle(source.next())),
    return: close,
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
