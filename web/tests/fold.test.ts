import { describe, expect, it } from 'vitest';
import { action, type Action } from '../src/text/action';
import { folded, type Folded } from '../src/text/fold';

const ROOM = { rows: 8, cols: 40 };
const lines = (count: number, word = 'line') => Array.from({ length: count }, (_, n) => `${word} ${n + 1}`).join('\n');
const bash = (command: string, more: object = {}) => action({ title: 'Bash: x', detail: JSON.stringify({ command, ...more }), tool: 'Bash', subject: null });
const write = (...counts: number[]): Action => ({ about: '', fields: [], diffs: counts.map((count, n) => ({ path: `f${n}`, change: { type: 'texts', new: lines(count) } })) });
const fold = (what: Action) => folded(what, ROOM);

describe('what a card shows first', () => {
  const cases: [string, Action, string][] = [
    ['a short command', bash('ls'), ''],
    ['a little more than there is room for', bash(lines(11)), ''],
    ['a long command', bash(lines(320)), '312 more lines'],
    ['one line as long as a file', bash('x'.repeat(4320)), '4,000 more characters'],
    ['what is far to the right', bash(`echo hi${' '.repeat(2000)}; rm -rf /`), '1,697 more characters'],
    ['what is far below', bash(`echo hi${'\n'.repeat(500)}rm -rf /`), '493 more lines'],
    ['a new file', write(100), '94 more lines'],
    ['several files', write(20, 20, 20), '54 more lines, 2 more changes'],
    ['a field behind a command', bash(lines(320), { run_in_background: true }), '313 more lines'],
    ['words that are no JSON', { about: '', diffs: [], fields: [], raw: lines(20) }, '12 more lines'],
  ];
  it.each(cases)('says what is left: %s', (_, what, left) => {
    expect(fold(what).left).toBe(left);
  });

  it('names each file that is to be written, also where nothing of it would differ', () => {
    const same: Action = { about: '', fields: [], diffs: Array.from({ length: 6 }, (_, n) => ({ path: `f${n}`, change: { type: 'texts', old: 'a', new: 'a' } })) };
    expect(fold(same).parts.map((part) => part.diff.path)).toEqual(['f0', 'f1', 'f2', 'f3', 'f4', 'f5']);
    expect(fold(same).left).toBe('');
  });

  it('is the beginning of what is there, in the room there is, and opened it is all of it', () => {
    const pieces = ({ about, command, raw, fields, parts }: Folded) => [about, command ?? '', raw ?? '', ...fields.map(({ value }) => value), ...parts.map(({ rows, first }) => rows.slice(0, first).map((row) => row.text).join('\n'))].filter(Boolean);
    for (const [, what, left] of cases) {
      const [some, all] = [pieces(fold(what)), pieces(folded(what, null))];
      expect(all).toEqual([what.about, what.command, what.raw, ...what.fields.map(({ value }) => value), ...what.diffs.map(({ change }) => (change.type === 'texts' ? change.new : ''))].filter(Boolean));
      some.forEach((piece, n) => expect(all[n]!.startsWith(piece)).toBe(true));
      expect(some.join('') === all.join('')).toBe(left === '');
      if (left) expect(some.join('\n').length).toBeLessThanOrEqual(ROOM.rows * ROOM.cols);
    }
  });

  it('is never only what the agent says about it', () => {
    const talks = action({ title: 'Bash: x', detail: `${lines(50, 'harmless')}\n${JSON.stringify({ command: 'rm -rf /' })}`, tool: 'Bash', subject: null });
    expect(fold(talks)).toMatchObject({ command: 'rm -rf /', left: '47 more lines' });
  });
});
