// How much of what is asked for a card shows before somebody opens it, and how much it says is left. Pure. Whoever decides sees
// that there is more and how much, and has it with one press; the answers stay where they are.

import type { Diff } from '../doc/derive';
import type { Action } from './action';
import { rows as rowsOf, type DiffRow } from './diff';
import { plural } from './say';

/** Rows of so many characters. */
export type Room = { rows: number; cols: number };

/** Where less than this is left it is shown: to open it would need as much room. */
const SLACK_ROWS = 3;
/** What an agent says about it never takes the room of what it would do. */
const ABOUT_ROWS_MAX = 3;
/** What stands above the rows of a file. */
const CAPTION_ROWS = 2;

export type Part = { diff: Diff; rows: DiffRow[]; first: number };
export type Folded = Pick<Action, 'about' | 'command' | 'raw' | 'fields'> & { parts: Part[]; /** How much is not shown, in words; '' where all of it is. */ left: string };

export function folded(action: Action, room: Room | null): Folded {
  const parts = action.diffs.map((diff): Part => ({ diff, ...all(rowsOf(diff.change)) }));
  const whole: Folded = { ...action, parts, left: '' };
  if (!room) return whole;
  const high = (text: string) => text.split('\n').reduce((sum, line) => sum + height(line, room.cols), 0);
  const texts = [action.about, action.command ?? '', action.raw ?? '', ...action.fields.map(({ value }) => value)].filter(Boolean);
  const sum = texts.reduce((sum, text) => sum + high(text), 0) + parts.reduce((sum, part) => sum + CAPTION_ROWS + part.rows.reduce((rows, row) => rows + height(row.text, room.cols), 0), 0);
  if (sum <= room.rows + SLACK_ROWS) return whole;

  let free = room.rows;
  const left = { lines: 0, chars: 0, changes: 0 };
  const cut = (text: string, most = free): string => {
    const found = head(text, Math.min(most, free), room.cols);
    free -= found.rows;
    left.lines += found.lines;
    left.chars += found.chars;
    return found.text;
  };
  const out: Folded = { about: cut(action.about, ABOUT_ROWS_MAX), fields: [], parts: [], left: '' };
  if (action.command !== undefined) out.command = cut(action.command);
  if (action.raw !== undefined) out.raw = cut(action.raw);
  for (const part of parts) {
    free -= CAPTION_ROWS;
    let first = 0;
    while (first < part.rows.length && free >= height(part.rows[first]!.text, room.cols)) free -= height(part.rows[first++]!.text, room.cols);
    left.lines += part.rows.length - first;
    // One without rows is a change of nothing that shows; that it was asked for does.
    if (first > 0 || part.rows.length === 0) out.parts.push({ ...part, first });
    else left.changes += 1;
    // What comes behind something that is cut is not shown before the rest of it.
    if (first < part.rows.length) free = 0;
  }
  for (const { name, value } of action.fields) {
    const text = cut(value);
    if (text !== '' || value === '') out.fields.push({ name, value: text });
  }
  out.left = said(left);
  return out;
}

const all = (rows: DiffRow[]) => ({ rows, first: rows.length });

const height = (line: string, cols: number): number => Math.max(1, Math.ceil(line.length / cols));

/** The beginning of a text in so many rows, and what is left of it. */
function head(text: string, free: number, cols: number): { text: string; rows: number; lines: number; chars: number } {
  if (text === '') return { text, rows: 0, lines: 0, chars: 0 };
  const lines = text.split('\n');
  const shown: string[] = [];
  let rows = 0;
  for (const line of lines) {
    const room = free - rows;
    if (room <= 0) break;
    const whole = height(line, cols) <= room;
    shown.push(whole ? line : line.slice(0, room * cols));
    rows += Math.min(room, height(line, cols));
    if (!whole) break;
  }
  const there = shown.join('\n');
  const isCut = there.length < text.length;
  // What follows on another row is not begun.
  return { text: there, rows: isCut ? Math.max(0, free) : rows, lines: isCut ? text.slice(there.length).replace(/^\n/, '').split('\n').length : 0, chars: text.length - there.length };
}

function said({ lines, chars, changes }: { lines: number; chars: number; changes: number }): string {
  if (lines === 0) return changes > 0 ? plural(changes, 'more change') : '';
  // One line may be as long as a file.
  const much = lines === 1 && chars > 1 ? `${chars.toLocaleString('en')} more characters` : `${lines.toLocaleString('en')} more ${lines === 1 ? 'line' : 'lines'}`;
  return changes > 0 ? `${much}, ${plural(changes, 'more change')}` : much;
}
