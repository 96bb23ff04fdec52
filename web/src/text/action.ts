// What a permission is for, as far as it can be read: the command, the change of a file, or fields. Pure. What cannot be read is
// shown as it came: nothing that is asked for is left out.

import type { Diff } from '../doc/derive';

export type Action = {
  /** What the agent says about it. */
  about: string;
  command?: string;
  diffs: Diff[];
  fields: { name: string; value: string }[];
  /** As it came, when no part of it was understood. */
  raw?: string;
};

const FIELDS_MAX = 12;

export function action(ask: { title: string; detail: string; tool: string | null; subject: string | null }): Action {
  const found = payload(ask.detail);
  if (!found) {
    const about = ask.detail === ask.title || ask.detail === ask.subject ? '' : ask.detail;
    return { about: '', diffs: [], fields: [], ...(about ? { raw: about } : {}) };
  }
  const { about, input } = found;
  const text = (name: string) => (typeof input[name] === 'string' ? (input[name] as string) : undefined);
  const used = new Set<string>();
  const out: Action = { about, diffs: [], fields: [] };
  const first = (...names: string[]) => names.find((name) => text(name) !== undefined);
  const path = first('file_path', 'filePath', 'path', 'notebook_path');
  const old = first('old_string', 'oldString', 'old_text');
  const fresh = first('new_string', 'newString', 'new_text');
  const whole = text('content');
  const take = (...names: (string | undefined)[]) => names.forEach((name) => name && used.add(name));
  if (text('command') !== undefined) {
    out.command = text('command')!;
    take('command');
  }
  if (path && old && fresh) {
    out.diffs.push({ path: text(path)!, change: { type: 'texts', old: text(old)!, new: text(fresh)! } });
    // The same by another name may be what runs: it stays to be seen.
    take(path, old, fresh);
  } else if (path && Array.isArray(input.edits)) {
    const edits = input.edits as Record<string, unknown>[];
    const isEdit = (edit: Record<string, unknown>) => typeof edit?.old_string === 'string' && typeof edit.new_string === 'string' && Object.keys(edit).every((key) => key === 'old_string' || key === 'new_string');
    if (edits.every(isEdit)) {
      for (const edit of edits) out.diffs.push({ path: text(path)!, change: { type: 'texts', old: edit.old_string as string, new: edit.new_string as string } });
      take(path, 'edits');
    }
  } else if (path && whole !== undefined) {
    out.diffs.push({ path: text(path)!, change: { type: 'texts', new: whole } });
    take(path, 'content');
  }
  const rest = Object.entries(input).filter(([name]) => !used.has(name));
  if (rest.length > FIELDS_MAX) return { about, diffs: [], fields: [], raw: JSON.stringify(input, null, 2) };
  // A subject in the title is not said twice, when it is all there is.
  for (const [name, value] of rest) {
    if (rest.length === 1 && value === ask.subject && ask.title.includes(ask.subject!) && used.size === 0) continue;
    out.fields.push({ name, value: typeof value === 'string' ? value : JSON.stringify(value, null, 1) });
  }
  return out;
}

/** The title says nothing that is not shown with the action. */
export function isSaid(ask: { title: string; detail: string; tool: string | null; subject: string | null }): boolean {
  if (!ask.subject || ask.title !== `${ask.tool}: ${ask.subject}`) return false;
  const { command, diffs, raw } = action(ask);
  return raw === undefined && (command === ask.subject || (diffs.length > 0 && diffs.every((diff) => diff.path === ask.subject)));
}

/** The words before a JSON object that ends the text. */
function payload(detail: string): { about: string; input: Record<string, unknown> } | null {
  const at = detail.startsWith('{') ? 0 : detail.indexOf('\n{') + 1;
  if (at === 0 && !detail.startsWith('{')) return null;
  try {
    const input: unknown = JSON.parse(detail.slice(at));
    return input !== null && typeof input === 'object' && !Array.isArray(input) ? { about: detail.slice(0, at).trim(), input: input as Record<string, unknown> } : null;
  } catch {
    // Cut short, or no JSON.
    return null;
  }
}
