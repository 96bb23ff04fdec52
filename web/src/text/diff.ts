// Changes of a file as rows: from a unified diff, or from two texts.

import type { DiffChange } from '../proto';

export type DiffRow = { sign: ' ' | '+' | '-' | '@'; old?: number; new?: number; text: string };

/** More lines than this on a side are shown as a whole replacement: the table below grows with their product. */
const LINES_MAX = 1500;
const AROUND = 3;

export function rows(change: DiffChange): DiffRow[] {
  return change.type === 'unified' ? unified(change.diff) : texts(change.old ?? '', change.new);
}

export function counts(all: readonly DiffRow[]): { added: number; removed: number } {
  let added = 0;
  let removed = 0;
  for (const { sign } of all) {
    if (sign === '+') added += 1;
    else if (sign === '-') removed += 1;
  }
  return { added, removed };
}

/** A line that was moved farther than this is a line removed and one added. */
const NEAR = 200;

/** What differs in nothing but white space is the same, as it is after the change. */
export function calm(all: readonly DiffRow[]): DiffRow[] {
  const out: DiffRow[] = [];
  const bare = (row: DiffRow) => row.text.replace(/\s+/g, '');
  for (const { removed, added } of blocks(all, (row) => out.push(row))) {
    let at = 0;
    let fresh: DiffRow[] = [];
    const before = removed.map(bare);
    for (const row of added) {
      const near = before.slice(at, at + NEAR).indexOf(bare(row));
      const same = at + near;
      if (near < 0) {
        fresh.push(row);
        continue;
      }
      out.push(...removed.slice(at, same), ...fresh, { sign: ' ', old: removed[same]!.old!, new: row.new!, text: row.text });
      at = same + 1;
      fresh = [];
    }
    out.push(...removed.slice(at), ...fresh);
  }
  return out;
}

/** Each run of removed and added rows; every other row is handed to `other` in its place. */
function* blocks(all: readonly DiffRow[], other: (row: DiffRow) => void): Generator<{ removed: DiffRow[]; added: DiffRow[] }> {
  let removed: DiffRow[] = [];
  let added: DiffRow[] = [];
  for (const row of all) {
    if (row.sign === '-') {
      if (added.length > 0) {
        yield { removed, added };
        [removed, added] = [[], []];
      }
      removed.push(row);
    } else if (row.sign === '+') {
      added.push(row);
    } else {
      if (removed.length + added.length > 0) yield { removed, added };
      [removed, added] = [[], []];
      other(row);
    }
  }
  if (removed.length + added.length > 0) yield { removed, added };
}

export type Side = { no?: number; text: string; sign: DiffRow['sign'] };

/** Beside each other: what was and what is; a side without a row is a gap. */
export function sides(all: readonly DiffRow[]): { old?: Side; new?: Side }[] {
  const out: { old?: Side; new?: Side }[] = [];
  const side = (row: DiffRow, no: number | undefined): Side => ({ text: row.text, sign: row.sign, ...(no === undefined ? {} : { no }) });
  const both = (row: DiffRow) => out.push({ old: side(row, row.old), new: side(row, row.new) });
  for (const { removed, added } of blocks(all, both)) {
    for (let at = 0; at < Math.max(removed.length, added.length); at += 1) {
      const [gone, come] = [removed[at], added[at]];
      out.push({ ...(gone ? { old: side(gone, gone.old) } : {}), ...(come ? { new: side(come, come.new) } : {}) });
    }
  }
  return out;
}

export function unified(diff: string): DiffRow[] {
  const out: DiffRow[] = [];
  let before = 0;
  let after = 0;
  let inside = false;
  for (const text of diff.replace(/\n$/, '').split('\n')) {
    const hunk = /^@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@(.*)$/.exec(text);
    if (hunk) {
      inside = true;
      before = Number(hunk[1]);
      after = Number(hunk[2]);
      out.push({ sign: '@', text: hunk[3]!.trim() });
    } else if (!inside && /^(diff |index |--- |\+\+\+ |new file|deleted file|similarity|rename )/.test(text)) {
      continue;
    } else if (text.startsWith('+')) {
      out.push({ sign: '+', new: after++, text: text.slice(1) });
    } else if (text.startsWith('-')) {
      out.push({ sign: '-', old: before++, text: text.slice(1) });
    } else if (text.startsWith('\\')) {
      continue;
    } else {
      out.push({ sign: ' ', old: before++, new: after++, text: text.slice(1) });
    }
  }
  return out;
}

function texts(before: string, after: string): DiffRow[] {
  const lines = (text: string) => (text === '' ? [] : text.replace(/\n$/, '').split('\n'));
  const a = lines(before);
  const b = lines(after);
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head += 1;
  let foot = 0;
  while (foot < a.length - head && foot < b.length - head && a[a.length - 1 - foot] === b[b.length - 1 - foot]) foot += 1;
  const mid = middle(a.slice(head, a.length - foot), b.slice(head, b.length - foot));
  const all: DiffRow[] = [];
  let o = 1;
  let n = 1;
  const same = (text: string) => all.push({ sign: ' ', old: o++, new: n++, text });
  a.slice(0, head).forEach(same);
  for (const { sign, text } of mid) {
    if (sign === ' ') same(text);
    else if (sign === '-') all.push({ sign, old: o++, text });
    else all.push({ sign: '+', new: n++, text });
  }
  a.slice(a.length - foot).forEach(same);
  return around(all);
}

function middle(a: string[], b: string[]): { sign: ' ' | '+' | '-'; text: string }[] {
  const gone = (all: string[]) => all.map((text) => ({ sign: '-' as const, text }));
  const come = (all: string[]) => all.map((text) => ({ sign: '+' as const, text }));
  if (a.length > LINES_MAX || b.length > LINES_MAX) return [...gone(a), ...come(b)];
  const width = b.length + 1;
  const best = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      best[i * width + j] =
        a[i] === b[j] ? best[(i + 1) * width + j + 1]! + 1 : Math.max(best[(i + 1) * width + j]!, best[i * width + j + 1]!);
    }
  }
  const out: { sign: ' ' | '+' | '-'; text: string }[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length && j < b.length) {
    if (a[i] === b[j]) {
      out.push({ sign: ' ', text: a[i]! });
      i += 1;
      j += 1;
    } else if (best[(i + 1) * width + j]! >= best[i * width + j + 1]!) {
      out.push({ sign: '-', text: a[i++]! });
    } else {
      out.push({ sign: '+', text: b[j++]! });
    }
  }
  return [...out, ...gone(a.slice(i)), ...come(b.slice(j))];
}

/** Only what is near a change. */
function around(all: DiffRow[]): DiffRow[] {
  const near = new Uint8Array(all.length);
  all.forEach((row, at) => {
    if (row.sign === ' ') return;
    near.fill(1, Math.max(0, at - AROUND), Math.min(all.length, at + AROUND + 1));
  });
  const out: DiffRow[] = [];
  all.forEach((row, at) => {
    if (!near[at]) return;
    if (at > 0 && !near[at - 1] && out.length > 0) out.push({ sign: '@', text: '' });
    out.push(row);
  });
  return out;
}
