// The board: every shared row of the server, by table and key. A pure fold over `rows` frames. It never computes a state,
// and it never guesses: a frame that does not continue the one before is a gap, and the caller asks again.

export type Table =
  | 'agent'
  | 'team'
  | 'request'
  | 'message'
  | 'workspace'
  | 'tab'
  | 'pane'
  | 'closed'
  | 'kind'
  | 'setting'
  | 'server';

export type RowLike = { table: Table; key: string; row: unknown };

export type RowsFrame = { seq: number; after?: number | null; reset: boolean; rows: RowLike[] };

export type Board = { seq: number | null; tables: Map<Table, Map<string, unknown>> };

export type Step = { outcome: 'applied' | 'duplicate' | 'gap'; board: Board; touched: Set<Table> };

export const empty = (): Board => ({ seq: null, tables: new Map() });

/** Tables that did not change keep their identity, so whoever looks at them does nothing. */
export function apply(board: Board, frame: RowsFrame): Step {
  const touched = new Set<Table>();
  if (frame.reset) {
    const tables = new Map<Table, Map<string, unknown>>();
    for (const table of board.tables.keys()) touched.add(table);
    for (const { table, key, row } of frame.rows) {
      touched.add(table);
      if (row === null) continue;
      let rows = tables.get(table);
      if (!rows) tables.set(table, (rows = new Map()));
      rows.set(key, row);
    }
    return { outcome: 'applied', board: { seq: frame.seq, tables }, touched };
  }
  // Rows that change with time alone come at the same seq, so what continues is judged by `after`.
  if (board.seq === null) return { outcome: 'gap', board, touched };
  if (frame.after !== board.seq) return { outcome: frame.seq <= board.seq ? 'duplicate' : 'gap', board, touched };

  const tables = new Map(board.tables);
  for (const { table, key, row } of frame.rows) {
    if (!touched.has(table)) {
      touched.add(table);
      tables.set(table, new Map(tables.get(table)));
    }
    const rows = tables.get(table)!;
    if (row === null) rows.delete(key);
    else rows.set(key, row);
  }
  return { outcome: 'applied', board: { seq: frame.seq, tables }, touched };
}
