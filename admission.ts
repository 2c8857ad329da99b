import type { ExecutionArgs, ExecutionResult } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import type { Logger } from 'pino';
import type { Context } from './context.ts';
import { toPublicError } from './edge.ts';
import type { OperationContext } from './execution.ts';
import { assertAffordable } from './limits.ts';
import type { RateLimiter, Release } from './rate-limit.ts';

export interface AdmissionOptions {
  readonly rateLimiter: RateLimiter;
  readonly log: Logger;
}

/** Refuses what may not be once document and variables are known, and charges for the rest. */
export function useAdmission({ rateLimiter, log }: AdmissionOptions): Plugin<OperationContext> {
  /** Null: nothing speaks against it. */
  function refusal(args: ExecutionArgs, begin: (context: Context) => void): ExecutionResult | null {
    // Made by createContext.
    const context = args.contextValue as Context & OperationContext;
    try {
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
