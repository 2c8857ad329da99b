import { createServer } from 'node:http';
import { createPositionRepository } from '../datasources/position.ts';
import { writeAtOnce } from '../datasources/held-writes.ts';
import { connect, type PostgresTarget } from '../datasources/postgres.ts';
import type { CompiledStatement } from '../datasources/sql.ts';
import { createCapture } from './driver-statement.ts';

/**
 * The limit of the pages: node:http and nothing else, in a process of its own. Told by its parent
 * what to serve, it says on which port.
 */
export type BareTask =
  /** Runs the one statement, makes objects of nine fields and sends their JSON. */
  | { readonly kind: 'page'; readonly target: PostgresTarget; readonly connections: number }
  /** Sends these bytes. */
  | { readonly kind: 'bytes'; readonly base64: string };

process.once('message', (task: BareTask) => {
  serve(task).then((port) => process.send?.({ port }), reportAndExit);
});
// The parent has gone.
process.once('disconnect', () => process.exit());

function reportAndExit(error: unknown): void {
  console.error(error);
  process.exit(1);
}

function serve(task: BareTask): Promise<number> {
  const server = task.kind === 'bytes' ? createBytesServer(task.base64) : createPageServer(task);
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : 0);
    });
  });
}

function createBytesServer(base64: string) {
  const body = Buffer.from(base64, 'base64');
  const headers = { 'content-type': 'application/json', 'content-length': body.length };
  return createServer((_request, response) => {
    response.writeHead(200, headers).end(body);
  });
}

interface Row {
  readonly id: string;
  readonly symbol: string;
  readonly side: string;
  readonly status: string;
  readonly quantity: string;
  readonly entryPrice: string;
  readonly leverage: string;
  readonly realizedPnl: string;
  readonly openedAt: string;
}

function createPageServer({ target, connections }: BareTask & { readonly kind: 'page' }) {
  const drivers = Array.from({ length: connections }, () =>
    connect(target, { statementTimeoutMs: 0 }),
  );
  let turn = 0;
  return createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', async () => {
      const { variables } = JSON.parse(Buffer.concat(chunks).toString('utf8'));
      const { text, parameters } = await pageStatement(variables.from, variables.first);
      turn = (turn + 1) % drivers.length;
      const rows = await drivers[turn]?.unsafe(text, parameters as string[], { prepare: true });
      const nodes = (rows as unknown as readonly Row[]).slice(0, variables.first).map(toNode);
      const body = JSON.stringify({ data: { positions: { nodes } } });
      const headers = {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
      };
      response.writeHead(200, headers).end(body);
    });
  });
}

let statement: CompiledStatement | null = null;
let statementFrom = '';

/** The statement of the product, made once; after that only its instant is another one. */
async function pageStatement(from: string, first: number) {
  if (statement === null) {
    const { statements, sql, recorder } = createCapture(0);
    const cut = { after: null, before: null, isDescending: true, limit: first + 1 };
    await createPositionRepository(writeAtOnce(sql), recorder).list(
      'main',
      { openedAt: { from } },
      cut,
    );
    statement = statements[0] ?? null;
    statementFrom = from;
  }
  if (statement === null) throw new Error('nothing was captured');
  const parameters = statement.parameters.map((each) => (each === statementFrom ? from : each));
  return { text: statement.text, parameters };
}

function toNode(row: Row) {
  const { symbol, side, status, quantity, entryPrice, leverage, realizedPnl, openedAt } = row;
  const id = `position.main.${row.id}`;
  return { id, symbol, side, status, quantity, entryPrice, leverage, realizedPnl, openedAt };
}
