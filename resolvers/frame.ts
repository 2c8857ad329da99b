import { assertMay, requireAccount } from '../access.ts';
import type { Context } from '../context.ts';
import type { Frame, FrameRequest } from '../datasources/frame.ts';
import type { DecimalFormat } from '../datasources/frame-column.ts';
import type { CandleWhere } from '../datasources/frame-source.ts';
import type { PositionWhere } from '../datasources/position.ts';
import type { PredictionWhere } from '../datasources/prediction.ts';
import { toPositionWhere, toTradeWhere } from '../datasources/row-where.ts';
import type { TradeWhere } from '../datasources/trade.ts';
import { AppError } from '../errors.ts';

const FRAME_ROWS_MAX = 200_000;
const FRAME_ROWS_DEFAULT = 100_000;

export interface FrameArguments {
  readonly limit?: number | null;
  readonly decimals?: DecimalFormat | null;
}

/** The names of columns, and how often the answer shows each. */
export type ShownColumns = ReadonlyMap<string, number>;

/** A frame of an account that there is. */
export type AccountFrame = Frame & { readonly headSeq: string };

/**
 * Columns of the newest predictions that match, oldest first; with a column of horizons, of their
 * horizons.
 *
 * @throws AppError FRAME_TOO_LARGE over 200,000 rows or 64 MiB; BAD_INPUT for a limit below 1;
 * NOT_FOUND (the account); OVERLOADED, QUERY_TOO_EXPENSIVE, FORBIDDEN
 */
export async function predictionFrame(
  context: Context,
  input: FrameArguments & { account?: string | null; where?: PredictionWhere | null },
  columns: ShownColumns,
): Promise<AccountFrame> {
  const accountId = requireAccount(context.actor, input.account, 'predictions:read');
  const request = frameRequest(context, input, columns);
  const { frames } = context.analytics;
  const frame = await frames.readPredictions(accountId, input.where ?? {}, request);
  return ofAccount(accountId, held(context, frame));
}

/** Columns of the newest trades that match, oldest first. @throws as `predictionFrame` does */
export async function tradeFrame(
  context: Context,
  input: FrameArguments & { account?: string | null; where?: TradeWhere | null },
  columns: ShownColumns,
): Promise<AccountFrame> {
  const accountId = requireAccount(context.actor, input.account, 'trades:read');
  const where = toTradeWhere(accountId, input.where);
  const request = frameRequest(context, input, columns);
  const frame = await context.analytics.frames.readTrades(accountId, where, request);
  return ofAccount(accountId, held(context, frame));
}

/**
 * Columns of the newest positions that match, oldest first, at the marks of the same moment.
 *
 * @throws as `predictionFrame` does
 */
export async function positionFrame(
  context: Context,
  input: FrameArguments & { account?: string | null; where?: PositionWhere | null },
  columns: ShownColumns,
): Promise<AccountFrame> {
  const accountId = requireAccount(context.actor, input.account, 'positions:read');
  const where = toPositionWhere(accountId, input.where);
  const request = frameRequest(context, input, columns);
  const frame = await context.analytics.frames.readPositions(accountId, where, request);
  return ofAccount(accountId, held(context, frame));
}

/** Columns of the newest candles of the range, oldest first. @throws as `predictionFrame` does */
export async function candleFrame(
  context: Context,
  input: FrameArguments & CandleWhere,
  columns: ShownColumns,
): Promise<Frame> {
  assertMay(context.actor, 'candles:read', null);
  const request = frameRequest(context, input, columns);
  return held(context, await context.analytics.frames.readCandles(input, request));
}

function frameRequest(
  context: Context,
  { limit, decimals }: FrameArguments,
  columns: ShownColumns,
): FrameRequest {
  const rows = limit ?? FRAME_ROWS_DEFAULT;
  if (rows < 1) {
    throw new AppError('BAD_INPUT', `limit is ${rows}; it must be 1 to ${FRAME_ROWS_MAX}.`, {
      path: ['limit'],
    });
  }
  if (rows > FRAME_ROWS_MAX) {
    throw tooLarge(`A frame has at most ${FRAME_ROWS_MAX} rows`, { rowsMax: FRAME_ROWS_MAX }, [
      'limit',
    ]);
  }
  const { bytesMax } = context.frames;
  return { columns, limit: rows, decimals: decimals ?? 'STRING', bytesMax };
}

/** Counts the frame among those that are held. */
function held(context: Context, frame: Frame): Frame {
  const { bytesMax } = context.frames;
  if (frame.bytes > bytesMax) {
    throw tooLarge(`This frame has more than the ${bytesMax} bytes that are sent`, { bytesMax });
  }
  context.frames.hold(frame.bytes);
  return frame;
}

function tooLarge(
  message: string,
  details: Readonly<Record<string, number>>,
  path: readonly string[] = [],
): AppError {
  const remedy = 'ask for fewer rows or columns, or stream them all from GET /export/<frame>';
  return new AppError('FRAME_TOO_LARGE', `${message}: ${remedy}.`, {
    details,
    ...(path.length === 0 ? {} : { path }),
  });
}

function ofAccount(accountId: string, frame: Frame): AccountFrame {
  const { headSeq } = frame;
  if (headSeq === null) {
    throw new AppError('NOT_FOUND', `There is no account ${JSON.stringify(accountId)}.`, {
      path: ['account'],
    });
  }
  return { ...frame, headSeq };
}
