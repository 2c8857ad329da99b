/**
 * A generator that can be ended while it waits: `return` aborts its signal first. A plain async
 * generator would go on waiting until its next event, and hold what it holds until then.
 */
export function stream<Event>(
  run: (signal: AbortSignal) => AsyncGenerator<Event, void, undefined>,
): AsyncGenerator<Event, void, undefined> {
  const ended = new AbortController();
  const generator = run(ended.signal);
  return {
    next: () => generator.next(),
    return: (value) => {
      ended.abort();
      return generator.return(value);
    },
    throw: (error) => {
      ended.abort();
      return generator.throw(error);
    },
    [Symbol.asyncIterator]() {
      return this;
    },
    async [Symbol.asyncDispose]() {
      ended.abort();
      await generator.return();
    },
  };
}
