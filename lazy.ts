/** How each property is made of what all are made of. */
export type Makers<Source> = Readonly<Record<string, (source: Source) => unknown>>;

export type Made<M> = {
  readonly [Name in keyof M]: M[Name] extends (source: never) => infer Value ? Value : never;
};

/**
 * A way to make objects whose properties are made when they are first asked for, and then kept. An
 * object costs what is used of it: a request uses one or two repositories of many.
 */
export function lazily<Source, M extends Makers<Source>>(makers: M): (source: Source) => Made<M> {
  class Lazy {
    readonly #source: Source;

    constructor(source: Source) {
      this.#source = source;
    }

    static {
      for (const [name, make] of Object.entries(makers)) {
        Object.defineProperty(Lazy.prototype, name, {
          enumerable: true,
          get(this: Lazy) {
            const value = make(this.#source);
            Object.defineProperty(this, name, { value, enumerable: true });
            return value;
          },
        });
      }
    }
  }
  // Each property was defined above.
  return (source) => new Lazy(source) as unknown as Made<M>;
}
