// What `@` in a text field means: the word behind it, and whom it may stand for.

export type Mention = { from: number; word: string };

/** The mention the caret stands in; an address in the middle of a word (`a@b`) is none. */
export function mention(text: string, caret: number): Mention | null {
  const found = /(?:^|[\s(,;:'"])@([a-z0-9_@-]{0,63})$/i.exec(text.slice(0, caret));
  return found ? { from: caret - found[1]!.length - 1, word: found[1]!.toLowerCase() } : null;
}

/** More than fits a glance is found by one more letter. */
const SHOWN_MAX = 7;

/** Names that begin with the word first, then those that have it, then those of a team that begins so. */
export function fitting(names: readonly string[], word: string): string[] {
  const rank = (name: string) => {
    if (name.startsWith(word)) return 0;
    const [own = '', team = ''] = name.split('@');
    return own.includes(word) ? 1 : team.startsWith(word) ? 2 : 3;
  };
  const ranked = names.map((name) => ({ name, rank: rank(name) })).filter((one) => one.rank < 3);
  return ranked.sort((a, b) => a.rank - b.rank).map((one) => one.name).slice(0, SHOWN_MAX);
}

/** The text with the mention replaced by a name, and where the caret is then. */
export function completed(text: string, at: Mention, name: string): { text: string; caret: number } {
  const end = at.from + 1 + at.word.length;
  const after = text.slice(end);
  const gap = /^\s/.test(after) ? '' : ' ';
  return { text: `${text.slice(0, at.from)}@${name}${gap}${after}`, caret: at.from + 1 + name.length + 1 };
}
