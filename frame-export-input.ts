import {
  coerceInputValue,
  type GraphQLError,
  type GraphQLSchema,
  isInputType,
  validateInputValue,
} from 'graphql';
import type { IncomingMessage } from 'node:http';
import type { DecimalFormat } from './datasources/frame-column.ts';
import type { ExportFormat } from './datasources/frame-export.ts';
import { quote } from './datasources/id.ts';
import { AppError } from './errors.ts';
import { assertFilter } from './limits.ts';
import type { ExportInput } from './resolvers/frame-export.ts';

const SHAPE = ['columns', 'decimals', 'format'];
const OF_ACCOUNT = [...SHAPE, 'account', 'where'];
const PARAMETERS = {
  predictions: OF_ACCOUNT,
  trades: OF_ACCOUNT,
  positions: OF_ACCOUNT,
  candles: [...SHAPE, 'exchange', 'symbol', 'interval', 'range'],
} as const satisfies Record<ExportInput['frame'], readonly string[]>;

/**
 * What `GET /export/<frame>` asks for: the frame by the name of its pages (`predictions`) or its own
 * (`predictionFrame`), the rest in the query. `where` and `range` are the JSON of the same inputs.
 *
 * @throws AppError NOT_FOUND for another frame; BAD_INPUT for an unknown or malformed parameter
 */
export function readExportInput(request: IncomingMessage, schema: GraphQLSchema): ExportInput {
  const url = new URL(request.url ?? '/', 'http://localhost');
  const frame = frameOf(url.pathname.slice('/export/'.length));
  const query = parametersOf(url.searchParams, PARAMETERS[frame]);
  const shape = {
    columns: query.get('columns')?.split(',') ?? null,
    decimals: decimalsOf(query),
    format: formatOf(query, request.headers.accept),
  };
  const account = query.get('account') ?? null;
  const inputOf = (name: string, type: string) => readInput(query, name, type, schema);
  // Each is checked against the type of the schema that the resolver's type describes.
  switch (frame) {
    case 'predictions':
    case 'trades':
    case 'positions': {
      const where = inputOf('where', WHERE_TYPES[frame]);
      return { ...shape, frame, account, where } as ExportInput;
    }
    case 'candles': {
      const where = {
        exchange: required(query, 'exchange'),
        symbol: required(query, 'symbol'),
        interval: required(query, 'interval'),
        range: inputOf('range', 'TimeRange'),
      };
      return { ...shape, frame, where } as ExportInput;
    }
  }
}

const WHERE_TYPES = {
  predictions: 'PredictionWhere',
  trades: 'TradeWhere',
  positions: 'PositionWhere',
} as const;

function frameOf(name: string): ExportInput['frame'] {
  const plural = name.endsWith('Frame') ? `${name.slice(0, -'Frame'.length)}s` : name;
  switch (plural) {
    case 'predictions':
    case 'trades':
    case 'positions':
    case 'candles':
      return plural;
    default:
      throw new AppError(
        'NOT_FOUND',
        `There is no frame ${quote(name)}: predictions, trades, positions and candles can be exported.`,
      );
  }
}

function parametersOf(
  given: URLSearchParams,
  known: readonly string[],
): ReadonlyMap<string, string> {
  const query = new Map<string, string>();
  for (const [name, value] of given) {
    if (!known.includes(name) || query.has(name)) {
      const message = `${quote(name)} is not one of these parameters, each given once: ${known.join(', ')}.`;
      throw new AppError('BAD_INPUT', message, { path: [name] });
    }
    query.set(name, value);
  }
  return query;
}

function required(query: ReadonlyMap<string, string>, name: string): string {
  const value = query.get(name);
  if (value === undefined) {
    throw new AppError('BAD_INPUT', `The parameter ${name} is missing.`, { path: [name] });
  }
  return value;
}

function decimalsOf(query: ReadonlyMap<string, string>): DecimalFormat {
  const decimals = query.get('decimals') ?? 'STRING';
  if (decimals === 'STRING' || decimals === 'FLOAT') return decimals;
  throw new AppError('BAD_INPUT', `decimals is ${quote(decimals)}; it must be STRING or FLOAT.`, {
    path: ['decimals'],
  });
}

/** The parameter counts before the header. */
function formatOf(query: ReadonlyMap<string, string>, accept: string | undefined): ExportFormat {
  const format = query.get('format') ?? (accept?.includes('text/csv') === true ? 'csv' : 'ndjson');
  if (format === 'ndjson' || format === 'csv') return format;
  throw new AppError('BAD_INPUT', `format is ${quote(format)}; it must be ndjson or csv.`, {
    path: ['format'],
  });
}

function readInput(
  query: ReadonlyMap<string, string>,
  name: string,
  typeName: string,
  schema: GraphQLSchema,
): unknown {
  const text = query.get(name);
  if (text === undefined) return null;
  const type = schema.getType(typeName);
  if (!isInputType(type)) throw new Error(`the schema has no input ${typeName}`);
  const value = parseJson(text, name);
  validateInputValue(value, type, (error: GraphQLError, path) => {
    throw new AppError('BAD_INPUT', error.message, { path: [name, ...path.map(String)] });
  });
  const coerced = coerceInputValue(value, type);
  assertFilter({ [name]: coerced }, [name]);
  return coerced;
}

function parseJson(text: string, name: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new AppError('BAD_INPUT', `The parameter ${name} is no JSON.`, { path: [name] });
  }
}
