// Files that somebody chose for a message, on their way to the server or there.

import { bring, FILES_MAX, named } from '../feed/files';
import { store } from '../feed/store.svelte';
import type { Attachment } from '../proto';

export type ChosenFile = { id: number; name: string; bytes: number; part: number; file?: Attachment; stop: AbortController };

export class Chosen {
  files = $state.raw<ChosenFile[]>([]);

  take(list: Iterable<File> | null | undefined): void {
    for (const file of list ?? []) {
      if (this.files.length >= FILES_MAX) return store.say(`A message takes ${FILES_MAX} files at most`, 'bad');
      const chosen: ChosenFile = { id: Math.random(), name: named(file.name, this.files.map((one) => one.name)), bytes: file.size, part: 0, stop: new AbortController() };
      const change = (with_: Partial<ChosenFile>) => (this.files = this.files.map((one) => (one.id === chosen.id ? { ...one, ...with_ } : one)));
      this.files = [...this.files, chosen];
      bring(file, chosen.name, chosen.stop.signal, (part) => change({ part })).then(
        (there) => change({ file: there }),
        (error: unknown) => {
          this.files = this.files.filter((one) => one.id !== chosen.id);
          if (!chosen.stop.signal.aborted) store.failed(error);
        },
      );
    }
  }

  leave(chosen: ChosenFile): void {
    chosen.stop.abort();
    this.files = this.files.filter((one) => one.id !== chosen.id);
  }

  /** Not derived: that would hold on to the view in which it was made, for as long as this is kept. */
  get isComing(): boolean {
    return this.files.some((one) => !one.file);
  }

  /** Whether a message has to wait for its files. A key that is pressed meanwhile is answered, and not heard of later. */
  holdsUp(): boolean {
    const { isComing } = this;
    if (isComing) store.say('Not sent: its files are still on their way');
    return isComing;
  }

  /** What is there, to go with a message. */
  get attachments(): Attachment[] {
    return this.files.flatMap((one) => one.file ?? []);
  }
}

const all = new Map<string, Chosen>();

/** They stay, and go on coming, while what they were chosen for is not on the screen. */
export function chosenFor(to: string): Chosen {
  const there = all.get(to) ?? new Chosen();
  all.set(to, there);
  return there;
}
