import { AppError } from '../errors.ts';
import type { NewChange, TradingState } from './change-recorder.ts';
import { instantOf } from './instant.ts';
import type { Answer, BatchMode, Unit } from './unit-of-work.ts';

/** What a unit of work has collected when its work is done. */
export interface CollectedUnit {
  readonly handle: Unit;
  readonly secrets: ReadonlySet<string>;
  readonly changes: readonly NewChange[];
  readonly states: ReadonlyMap<string, { expected?: TradingState; next?: TradingState }>;
  mode(): BatchMode | null;
}

/** Collects what the work of one attempt says, for the last statement. */
export function createUnit(actor: string): CollectedUnit {
  const changes: NewChange[] = [];
  const states = new Map<string, { expected?: TradingState; next?: TradingState }>();
  const secrets = new Set<string>();
  let mode: BatchMode | null = null;
  let itemsEntered = 0;
  return {
    secrets,
    changes,
    states,
    mode: () => mode,
    handle: {
      actor: actor,
      at: instantOf(Date.now()),
      record: (change) => {
        changes.push(change);
      },
      expectTradingState: (accountId, state) => {
        const known = states.get(accountId);
        // What this unit sets itself is not what the table has.
        if (known?.next !== undefined) return;
        if (known?.expected !== undefined && known.expected !== state) throw stateChanged();
        states.set(accountId, { ...known, expected: state });
      },
      ownTradingState: (accountId) => states.get(accountId)?.next ?? null,
      setTradingState: (accountId, state) => {
        states.set(accountId, { ...states.get(accountId), next: state });
      },
      withhold: (secret) => {
        secrets.add(secret);
      },
      enter: (next, items = 0) => {
        if (mode !== null && (mode === 'VALIDATE_ONLY') !== (next === 'VALIDATE_ONLY')) {
          throw new AppError(
            'BAD_INPUT',
            'VALIDATE_ONLY must be the mode of every field of an operation, or of none.',
            { path: ['input', 'mode'] },
          );
        }
        mode = next;
        itemsEntered += items;
        return itemsEntered;
      },
    },
  };
}

/** Run again, the unit decides by the new state. */
export function stateChanged(cause?: unknown): AppError {
  return new AppError('SERIALIZATION_FAILURE', 'The trading state changed meanwhile: try again.', {
    cause,
  });
}

/** The answer as it may be stored: a secret is shown once, so a repeat gets an empty text. */
export function withoutSecrets(answer: Answer, secrets: ReadonlySet<string>): Answer {
  if (secrets.size === 0) return answer;
  let { text } = answer;
  // As it stands in JSON, without its quotes.
  for (const secret of secrets) text = text.replaceAll(JSON.stringify(secret).slice(1, -1), '');
  return { text, isShortened: true };
}
