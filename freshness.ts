import { type ExecutionArgs, type ExecutionResult, getOperationAST } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import type { Logger } from 'pino';
import type { Context } from './context.ts';
import { toPublicError } from './edge.ts';
import type { OperationContext } from './execution.ts';
import { type MinCommit, reachMinCommits, readMinCommits } from './min-commit.ts';

const PATH = ['extensions', 'minCommit'];

/** The commits that the header and the extensions of a request name. */
interface Named {
  readonly fromHeader: readonly MinCommit[];
  /** As it was sent. */
  readonly fromExtensions: unknown;
}

/**
 * Lets operations wait for the commits that `extensions.minCommit` names, and says in the extensions
 * of a query's answer which of its reads came from the cache.
 */
export function useFreshness(log: Logger): Plugin<OperationContext> {
  return {
    onExecute: ({ args, setResultAndStopExecution }) => {
      // Made by createContext.
      const context = args.contextValue as unknown as Context & OperationContext;
      const named = namedBy(context);
      const isQuery = getOperationAST(args.document, args.operationName)?.operation === 'query';
      const done = isQuery ? { onExecuteDone: counted(args, context) } : {};
      if (named === null) return done;
      return reach(named, context, setResultAndStopExecution).then(() => done);
    },
    onSubscribe: ({ args, setResultAndStopExecution }) => {
      const context = args.contextValue as unknown as Context & OperationContext;
      const named = namedBy(context);
      return named === null
        ? {}
        : reach(named, context, setResultAndStopExecution).then(() => ({}));
    },
  };

  async function reach(
    { fromHeader, fromExtensions }: Named,
    { actor, call, requestId, services }: Context,
    stop: (result: ExecutionResult) => void,
  ): Promise<void> {
    try {
      const timeMs = call.deadlineAt - performance.now();
      const others = fromExtensions === null ? [] : readMinCommits(fromExtensions, PATH);
      const commits = [...fromHeader, ...others];
      await reachMinCommits(commits, actor, services.caches.heads, timeMs);
    } catch (error) {
      stop({ errors: [toPublicError(error, requestId, log)] });
    }
  }
}

/** Null: none, as mostly. */
function namedBy({ operation, params }: OperationContext): Named | null {
  const fromExtensions = params?.extensions?.minCommit ?? null;
  const fromHeader = operation.minCommits;
  return fromExtensions === null && fromHeader.length === 0 ? null : { fromHeader, fromExtensions };
}

/** Counts the reads of a query once it is done; `setResult` is the engine's. */
function counted(args: ExecutionArgs, { reads, services }: Context) {
  return ({
    result,
    setResult,
  }: {
    readonly result: unknown;
    readonly setResult: (result: ExecutionResult) => void;
  }): void => {
    const { hits, misses } = reads;
    if (hits + misses === 0) return;
    services.caches.results.record(operationNameOf(args), hits, misses);
    // A query is answered at once: it gives no stream.
    const answer = result as ExecutionResult;
    setResult({ ...answer, extensions: { ...answer.extensions, cache: { hits, misses } } });
  };
}

/** The name in the document; null: it has none. */
export function operationNameOf({ document, operationName }: ExecutionArgs): string | null {
  return getOperationAST(document, operationName)?.name?.value ?? null;
}
