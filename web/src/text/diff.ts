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
