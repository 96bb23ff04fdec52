// The words of the filter box: plain ones fit anywhere, `state:`, `team:`, `kind:`, `model:`, `branch:`, `in:` (a folder) and `is:` say
// where; `-` before a word turns it round. Pure.

export type Fields = { name: string; team: string; kind: string; state: string; words: readonly string[]; model: string; branch: string; cwd: string; unread: boolean; muted: boolean; live: boolean; needs: boolean };

export const HINTS = ['state:working', 'team:', 'kind:', 'is:waiting', 'is:unread'];

export function fits(fields: Fields, filter: string): boolean {
  return filter.toLowerCase().split(/\s+/).filter(Boolean).every((word) => (word.length > 1 && word.startsWith('-') ? !fitsWord(fields, word.slice(1)) : fitsWord(fields, word)));
}

function fitsWord(fields: Fields, word: string): boolean {
  const colon = word.indexOf(':');
  const [where, what] = colon > 0 ? [word.slice(0, colon), word.slice(colon + 1)] : ['', word];
  const has = (text: string) => text.toLowerCase().includes(what);
  switch (where) {
    case 'state':
      // `state:needs_answer` and `state:answer` are both said.
      return fields.state.toLowerCase().replaceAll('_', ' ').includes(what.replaceAll('_', ' '));
    case 'team':
      return has(fields.team);
    case 'kind':
      return has(fields.kind);
    case 'model':
      return has(fields.model);
    case 'branch':
      return has(fields.branch);
    case 'in':
      return has(fields.cwd);
    case 'is':
      return { unread: fields.unread, muted: fields.muted, live: fields.live, off: !fields.live, waiting: fields.needs }[what] ?? what === '';
    default:
      return [`${fields.name}@${fields.team}`, fields.kind, fields.state.replaceAll('_', ' '), fields.model, fields.branch, fields.cwd, ...fields.words].some((text) => text.toLowerCase().includes(word));
  }
}
