import type { ExecutionArgs, ExecutionResult } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import type { Logger } from 'pino';
import { type Actor, assertMay } from './access.ts';
import type { Context } from './context.ts';
import { asksForSchema } from './cost.ts';
import { toPublicError } from './edge.ts';
import { AppError } from './errors.ts';
import type { OperationContext } from './execution.ts';
import { assertAffordable } from './limits.ts';
import type { RateLimiter, Release } from './rate-limit.ts';

export interface AdmissionOptions {
  readonly rateLimiter: RateLimiter;
  /** False: the schema is shown to nobody. */
  readonly isExplorerOn: boolean;
  readonly log: Logger;
}

/** Refuses what may not be once document and variables are known, and charges for the rest. */
export function useAdmission(options: AdmissionOptions): Plugin<OperationContext> {
  const { rateLimiter, isExplorerOn, log } = options;

  function assertMayExplore(actor: Actor): void {
    if (!isExplorerOn) throw new AppError('FORBIDDEN', 'This server shows its schema to nobody.');
    assertMay(actor, 'schema:explore', null);
  }

  /** Null: nothing speaks against it. */
  function refusal(args: ExecutionArgs, begin: (context: Context) => void): ExecutionResult | null {
    // Made by createContext.
    const context = args.contextValue as Context & OperationContext;
    try {
      if (asksForSchema(args)) assertMayExplore(context.actor);
      rateLimiter.charge(context.actor, assertAffordable(args));
      begin(context);
      return null;
    } catch (error) {
      return { errors: [toPublicError(error, context.requestId, log)] };
    }
  }
  return {
    onExecute: ({ args, setResultAndStopExecution }) => {
      const refused = refusal(args, () => {});
      if (refused !== null) setResultAndStopExecution(refused);
    },
    onSubscribe: ({ args, setResultAndStopExecution }) => {
      let release: Release = () => {};
      const refused = refusal(args, ({ actor }) => {
        args.contextValue.operation.onStream?.();
        release = rateLimiter.openStream(actor);
      });
      if (refused !== null) setResultAndStopExecution(refused);
      return {
        onSubscribeResult: ({ result }) => {
          if (!(Symbol.asyncIterator in result)) release();
          return { onEnd: release };
        },
        onSubscribeError: release,
      };
    },
  };
}
