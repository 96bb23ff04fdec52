// What a person has begun to write, as the views read it: replies, answers, a letter. Kept by this browser, the same in all its
// windows, until it was accepted, is settled, or the person signs out.

import type { Class, Priority } from '../proto';
import { Drafts, Shelf } from './draft';
import { uuid } from './link';

const isLike = (one: unknown, other: unknown): boolean =>
  Array.isArray(other) ? Array.isArray(one) && one.every((word) => typeof word === 'string') : typeof one === typeof other;

class Begun<T extends object> {
  private readonly shelf: Shelf<Partial<T>>;
  private version = $state(0);
  private writes = 0;

  constructor(
    kind: string,
    private readonly none: T,
  ) {
    this.shelf = new Shelf(kind, (found) => found as Partial<T>, () => localStorage);
    addEventListener('storage', ({ key }) => this.shelf.has(key) && this.changed());
  }

  /** Where nothing was begun, or what is kept is not ours: as it begins. */
  of(name: string): T {
    void this.version;
    const found = this.shelf.get(name);
    if (!found) return this.none;
    const fields = Object.entries(this.none) as [keyof T, unknown][];
    return Object.fromEntries(fields.map(([field, none]) => [field, isLike(found[field], none) ? found[field] : none])) as T;
  }

  hold(name: string, change: Partial<T>): void {
    const was = this.of(name);
    const isSame = (Object.keys(change) as (keyof T)[]).every((field) => JSON.stringify(change[field]) === JSON.stringify(was[field]));
    if (isSame) return;
    // Other words go out with another key.
    const next = { ...was, ...('key' in this.none && { key: '' }), ...change };
    if (JSON.stringify(next) === JSON.stringify(this.none)) return this.drop(name);
    this.shelf.put(name, next);
    this.changed();
  }

  drop(name: string): void {
    this.shelf.drop(name);
    this.changed();
  }

  /** What they go out with. The same words with the same files have the same again, for whoever did not hear that they arrived. */
  keyOf(this: Begun<T & { key: string }>, name: string, files: readonly string[]): string {
    const [known] = this.of(name).key.split(' ');
    const key = [known, ...files].join(' ');
    if (known && key === this.of(name).key) return known;
    const fresh = uuid();
    this.hold(name, { key: [fresh, ...files].join(' ') } as Partial<T & { key: string }>);
    return fresh;
  }

  /** Whatever else was begun belongs to nothing that can still be answered. */
  keep(isOpen: (name: string) => boolean): void {
    for (const name of this.shelf.names()) if (!isOpen(name)) this.drop(name);
  }

  clear(): void {
    this.shelf.clear();
    this.changed();
  }

  private changed(): void {
    // Not read here: who writes in an effect must not wait for itself.
    this.version = this.writes += 1;
  }
}

/** By thread. What is on its way comes back where it was not accepted, also after a reload. */
export const replies = new Begun('reply', { text: '', going: '', id: '' });
/** By message of the inbox. */
export const quick = new Begun('quick', { text: '' });
/** By request; `why`: the option that the words are a reason for. */
export const answers = new Begun('answer', { text: '', why: '' });
/** There is one. */
export const letters = new Begun('letter', { to: [] as string[], word: '', body: '', priority: 'normal' as Priority, kind: 'request' as Class, wants: false, key: '' });
export const drafts = new Drafts(() => localStorage);

/** Whoever signs out leaves no words in this browser. */
export function forgetWords(): void {
  for (const kind of [replies, quick, answers, letters, drafts]) kind.clear();
}
