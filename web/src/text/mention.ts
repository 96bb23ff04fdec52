// What `@` and `/` in a text field mean: the word behind them, and whom or what it may stand for.

import type { SlashCommand } from '../proto';

export type Mention = { from: number; word: string };

/** The mention the caret stands in; an address in the middle of a word (`a@b`) is none. */
export function mention(text: string, caret: number): Mention | null {
  const found = /(?:^|[\s(,;:'"])@([\p{L}\p{N}_@./+~-]{0,120})$/u.exec(text.slice(0, caret));
  return found ? { from: caret - found[1]!.length - 1, word: found[1]! } : null;
}

/** More than fits a glance is found by one more letter. */
const SHOWN_MAX = 7;

/** Names that begin with the word first, then those that have it, then those of a team that begins so. */
export function fitting(names: readonly string[], typed: string): string[] {
  const word = typed.toLowerCase();
  const rank = (name: string) => {
    if (name.startsWith(word)) return 0;
    const [own = '', team = ''] = name.split('@');
    return own.includes(word) ? 1 : team.startsWith(word) ? 2 : 3;
  };
  const ranked = names.map((name) => ({ name, rank: rank(name) })).filter((one) => one.rank < 3);
  return ranked.sort((a, b) => a.rank - b.rank).map((one) => one.name).slice(0, SHOWN_MAX);
}

/** The text with the mention replaced by a name, and where the caret is then. A directory stays open for what is in it. */
export function completed(text: string, at: Mention, name: string): { text: string; caret: number } {
  const end = at.from + 1 + at.word.length;
  const after = text.slice(end);
  const isOpen = name.endsWith('/');
  const gap = isOpen || /^\s/.test(after) ? '' : ' ';
  return { text: `${text.slice(0, at.from)}@${name}${gap}${after}`, caret: at.from + 1 + name.length + (isOpen ? 0 : 1) };
}

/** The word of a command: a slash begins the text, and the caret is in its first word. */
export function slash(text: string, caret: number): string | null {
  return /^\/([^\s/]{0,100})$/.exec(text.slice(0, caret))?.[1] ?? null;
}

export type Offer = SlashCommand & { ours?: boolean };

/** Those that begin so, then those that have it; the CLI's own before one of ours of the same name. */
export function offered(theirs: readonly SlashCommand[], ours: readonly SlashCommand[], typed: string): Offer[] {
  const names = new Set(theirs.map((command) => command.name));
  const all: Offer[] = [...theirs, ...ours.filter((command) => !names.has(command.name)).map((command) => ({ ...command, ours: true }))];
  const word = typed.toLowerCase();
  const rank = ({ name }: Offer) => (name.toLowerCase().startsWith(word) ? 0 : name.toLowerCase().includes(word) ? 1 : 2);
  return all.filter((command) => rank(command) < 2).sort((a, b) => rank(a) - rank(b)).slice(0, OFFERED_MAX);
}

const OFFERED_MAX = 12;
