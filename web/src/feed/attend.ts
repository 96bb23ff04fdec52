// What a person is told outside of the page. Pure: which of the things that wait are news, in what words, with a sound or without.

import { isNeed, type Item } from './inbox';
import type { Content } from '../proto';
import { line } from '../text/plain';
import { ending } from '../ui/states';

/** What the server names in `notify.on`. */
export type Kind = 'needs_permission' | 'needs_answer' | 'needs_login' | 'failed' | 'message' | 'finished';

export function kindOf(item: Item): Kind | null {
  switch (item.is) {
    case 'ask':
      return item.ask.kind === 'question' ? 'needs_answer' : item.ask.kind === 'login' ? 'needs_login' : 'needs_permission';
    case 'login':
      return 'needs_login';
    case 'failed':
      return 'failed';
    case 'mail':
    case 'stuck':
      return 'message';
    case 'finished':
      return 'finished';
    case 'held':
      return null;
  }
}

export type Note = { key: string; title: string; body: string; hash: string };

/** `isKnown`: whether this sender is an agent of the board or the person; what others write is not shown where anybody may look on. */
export function note(item: Item, isKnown: (sender: string) => boolean): Note {
  const own = { key: item.key, hash: '#/inbox' };
  switch (item.is) {
    case 'ask': {
      const { ask } = item;
      // A held message is of somebody whose word is in doubt.
      const body = ask.kind === 'held_message' ? 'has a message held' : item.asks.length > 1 ? `${item.asks.length} questions` : line(ask.title, 160);
      return { ...own, title: line(ask.agent, 80), body };
    }
    case 'mail':
    case 'stuck': {
      const { from, body } = item.message;
      if (item.is === 'stuck') return { ...own, title: line(item.copy.to, 80), body: `${ending(item.copy)?.says} your message` };
      return { ...own, title: line(from, 80), body: isKnown(from) ? line(body, 160) : 'wrote to you' };
    }
    case 'login':
    case 'failed':
    case 'finished':
    case 'held': {
      const what = { login: 'needs a login', failed: 'failed', finished: 'finished a turn', held: 'has messages that wait' }[item.is];
      return { ...own, title: `${item.agent.name}@${item.agent.team}`, body: what, ...(item.is === 'held' ? {} : { hash: `#/agent/${item.agent.uid}` }) };
    }
  }
}

export const CROWD = 'crowd';

/** What comes in a crowd, as one; in its own words while it is alone. */
export function gathered(items: readonly Item[], isKnown: (sender: string) => boolean): Note {
  const [first] = items;
  if (first && items.length === 1) return { ...note(first, isKnown), key: CROWD };
  return { key: CROWD, title: 'agentmux', body: `${items.length} things wait for you`, hash: '#/inbox' };
}

/** What of a workspace is before the eyes: agents by their id, and the inbox. */
export const looked = (contents: readonly Content[]): string[] =>
  contents.flatMap((content) => (content.type === 'agent' ? [content.agent] : content.type === 'view' && content.view === 'inbox' ? ['inbox'] : []));

/** At most one sound in so many milliseconds, whatever comes. */
export const SOUND_MS = 5000;

export class Told {
  private sounded = -Infinity;
  private shown = -Infinity;
  private known: ReadonlySet<string> | null = null;

  /** Those that were not there before and are of a kind that is wanted. What was there when the page opened is not news. */
  fresh(items: readonly Item[], on: readonly string[]): Item[] {
    const before = this.known;
    this.known = new Set(items.map((item) => item.key));
    if (!before) return [];
    return items.filter((item) => {
      const kind = kindOf(item);
      return !before.has(item.key) && kind !== null && on.includes(kind);
    });
  }

  /** Whether what is shown now may be heard. A finished turn never is. */
  sound(items: readonly Item[], now: number): boolean {
    if (now - this.sounded < SOUND_MS || !items.some((item) => isNeed(item) || item.is === 'failed' || item.is === 'mail')) return false;
    this.sounded = now;
    return true;
  }

  /** Each by itself, or what comes in a crowd as one; one after the other is a crowd too. */
  split(items: readonly Item[], now: number, pauseMs: number): 'each' | 'one' {
    const isCrowd = items.length > 3 || now - this.shown < pauseMs;
    this.shown = now;
    return isCrowd ? 'one' : 'each';
  }
}
