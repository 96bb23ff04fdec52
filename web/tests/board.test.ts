import { describe, expect, it } from 'vitest';
import { apply, empty, type RowsFrame, type RowLike } from '../src/feed/board';

const agent = (key: string, row: unknown): RowLike => ({ table: 'agent', key, row });
const frame = (seq: number, after: number | null, rows: RowLike[], reset = false): RowsFrame => ({ seq, after, reset, rows });

const begun = () => apply(empty(), frame(5, null, [agent('a', { n: 1 }), { table: 'team', key: 't', row: { n: 1 } }], true)).board;

describe('the board', () => {
  it('takes a reset whatever it knew, and forgets what is not in it', () => {
    const { board, touched } = apply(begun(), frame(3, null, [agent('b', { n: 2 })], true));
    expect(board.seq).toBe(3);
    expect([...board.tables.get('agent')!.keys()]).toEqual(['b']);
    expect(board.tables.get('team')).toBeUndefined();
    expect(touched).toEqual(new Set(['agent', 'team']));
  });

  it('puts, replaces and removes rows, and leaves other tables the same object', () => {
    const before = begun();
    const step = apply(before, frame(6, 5, [agent('a', null), agent('b', { n: 2 })]));
    expect(step.outcome).toBe('applied');
    expect([...step.board.tables.get('agent')!]).toEqual([['b', { n: 2 }]]);
    expect(step.board.tables.get('team')).toBe(before.tables.get('team'));
    expect(before.tables.get('agent')!.has('a')).toBe(true);
  });

  it('says gap and changes nothing when a frame does not continue the one before', () => {
    const before = begun();
    expect(apply(before, frame(9, 7, [agent('a', null)]))).toMatchObject({ outcome: 'gap', board: before });
    expect(apply(empty(), frame(9, 7, []))).toMatchObject({ outcome: 'gap' });
  });

  it('says duplicate and changes nothing for a frame of the past', () => {
    const before = apply(begun(), frame(8, 5, [agent('a', { n: 8 })])).board;
    expect(apply(before, frame(8, 5, [agent('a', { n: 0 })]))).toMatchObject({ outcome: 'duplicate', board: before });
    expect(apply(before, frame(6, 4, [agent('a', { n: 0 })]))).toMatchObject({ outcome: 'duplicate', board: before });
  });

  it('takes rows that changed with time alone, at the same seq', () => {
    const step = apply(begun(), frame(5, 5, [agent('a', { n: 2 })]));
    expect(step.outcome).toBe('applied');
    expect(step.board.tables.get('agent')!.get('a')).toEqual({ n: 2 });
  });
});
