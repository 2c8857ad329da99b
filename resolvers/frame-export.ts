import { assertMay, requireAccount } from '../access.ts';
import type { Context } from '../context.ts';
import {
  CANDLE_COLUMNS,
  type DecimalFormat,
  HORIZON_COLUMNS,
  MARK_COLUMNS,
  POSITION_COLUMNS,
  PREDICTION_COLUMNS,
  TRADE_COLUMNS,
} from '../datasources/frame-column.ts';
import type { ExportFormat, ExportRequest } from '../datasources/frame-export.ts';
import type { CandleWhere } from '../datasources/frame-source.ts';
import { quote } from '../datasources/id.ts';
import type { PredictionWhere } from '../datasources/prediction.ts';
import type { TradeWhere } from '../datasources/trade.ts';
import { AppError } from '../errors.ts';
import type { PositionWhere } from '../datasources/position.ts';
import { toPositionWhere, toTradeWhere } from '../datasources/row-where.ts';

interface ExportShape {
  /** Null: all of the frame but those of horizons. */
  readonly columns: readonly string[] | null;
  readonly decimals: DecimalFormat;
  readonly format: ExportFormat;
}

interface OfAccount<Where> extends ExportShape {
  readonly account: string | null;
  readonly where: Where | null;
}

export type ExportInput =
  | (OfAccount<PredictionWhere> & { readonly frame: 'predictions' })
  | (OfAccount<TradeWhere> & { readonly frame: 'trades' })
  | (OfAccount<PositionWhere> & { readonly frame: 'positions' })
  | (ExportShape & { readonly frame: 'candles'; readonly where: CandleWhere });

export interface OpenedExport {
  /** The last change of the account, or of `_system` for candles, that is in the rows. */
  readonly asOfSeq: string;
  readonly columns: readonly string[];
}

/** All columns of a frame by whether they are exported when none is named. */
const COLUMNS = {
  predictions: [PREDICTION_COLUMNS, HORIZON_COLUMNS],
  trades: [TRADE_COLUMNS, {}],
  positions: [{ ...POSITION_COLUMNS, ...MARK_COLUMNS }, {}],
  candles: [CANDLE_COLUMNS, {}],
} as const;

/**
 * Opens the rows of a frame for `datasources.frameExports.fetch`, in the transaction that the
 * datasources are of.
 *
 * @throws AppError BAD_INPUT for a column the frame has not; NOT_FOUND (the account); FORBIDDEN
 */
export async function openExport(
  context: Pick<Context, 'actor' | 'datasources'>,
  input: ExportInput,
): Promise<OpenedExport> {
  const { actor, datasources } = context;
  const { frameExports } = datasources;
  const { decimals, format } = input;
  const columns = columnsOf(input);
  const request: ExportRequest = { columns, decimals, format };
  const opened = (seq: string | null, account: string): OpenedExport => {
    if (seq !== null) return { asOfSeq: seq, columns };
    throw new AppError('NOT_FOUND', `There is no account ${JSON.stringify(account)}.`, {
      path: ['account'],
    });
  };
  switch (input.frame) {
    case 'predictions': {
      const account = requireAccount(actor, input.account, 'predictions:read');
      return opened(
        await frameExports.openPredictions(account, input.where ?? {}, request),
        account,
      );
    }
    case 'trades': {
      const account = requireAccount(actor, input.account, 'trades:read');
      const where = toTradeWhere(account, input.where);
      return opened(await frameExports.openTrades(account, where, request), account);
    }
    case 'positions': {
      const account = requireAccount(actor, input.account, 'positions:read');
      const where = toPositionWhere(account, input.where);
      return opened(await frameExports.openPositions(account, where, request), account);
    }
    case 'candles':
      assertMay(actor, 'candles:read', null);
      return opened(await frameExports.openCandles(input.where, request), '_system');
  }
}

function columnsOf({ frame, columns }: ExportInput): readonly string[] {
  const [own, more] = COLUMNS[frame];
  if (columns === null) return Object.keys(own);
  const seen = new Set<string>();
  for (const name of columns) {
    if ((!Object.hasOwn(own, name) && !Object.hasOwn(more, name)) || seen.has(name)) {
      const known = [...Object.keys(own), ...Object.keys(more)].join(', ');
      const message = `${quote(name)} is not one of these columns, each named once: ${known}.`;
      throw new AppError('BAD_INPUT', message, { path: ['columns'] });
    }
    seen.add(name);
  }
  return columns;
}
