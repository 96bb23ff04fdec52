// What a person keeps about the board beside it: muted, put off, dismissed, in which order. The server holds it as settings that
// are lists of words, so that every device has it. Pure.

export type Notes = {
  muted: readonly string[];
  /** Item → until when (ms). */
  snoozed: Readonly<Record<string, number>>;
  /** Agent or item → as of when it was dismissed. */
  seen: Readonly<Record<string, string>>;
  order: readonly string[];
};

/** What the server takes of each. */
const WORDS_MAX = 512;

const words = (value: unknown): string[] => (Array.isArray(value) ? value.filter((word): word is string => typeof word === 'string') : []);

type Coded<T> = { key: string; none: T; read(value: unknown): T; write(value: T): string[] };

const list = (key: string): Coded<readonly string[]> => ({ key, none: [], read: words, write: (value) => [...new Set(value)].slice(0, WORDS_MAX) });

/** The newest last, and they stay when there are too many. */
const pairs = (value: unknown): [string, string][] => words(value).flatMap((word): [string, string][] => {
  const gap = word.indexOf(' ');
  return gap > 0 ? [[word.slice(gap + 1), word.slice(0, gap)]] : [];
});
const joined = (entries: [string, string | number][]): string[] => entries.slice(-WORDS_MAX).map(([key, value]) => `${value} ${key}`);

export const CODED: { [K in keyof Notes]: Coded<Notes[K]> } = {
  muted: list('web.muted'),
  order: list('web.order'),
  snoozed: {
    key: 'web.put_off',
    none: {},
    read: (value) => Object.fromEntries(pairs(value).map(([key, until]) => [key, Number(until)] as const).filter(([, until]) => Number.isFinite(until))),
    write: (value) => joined(Object.entries(value)),
  },
  seen: { key: 'web.seen', none: {}, read: (value) => Object.fromEntries(pairs(value)), write: (value) => joined(Object.entries(value)) },
};

/** Without what is over or belongs to nobody any more; `agents` are those there are. */
export function pruned<K extends keyof Notes>(which: K, value: Notes[K], agents: ReadonlySet<string>, now: number): Notes[K] {
  const is = (one: keyof Notes) => one === which;
  if (is('muted') || is('order')) return (value as readonly string[]).filter((uid) => agents.has(uid)) as unknown as Notes[K];
  if (is('snoozed')) return Object.fromEntries(Object.entries(value as Notes['snoozed']).filter(([, until]) => until > now)) as Notes[K];
  // What is no agent is a message or a queue: it is kept until newer ones push it out.
  return Object.fromEntries(Object.entries(value as Notes['seen']).filter(([key]) => key.includes(' ') || agents.has(key))) as Notes[K];
}
