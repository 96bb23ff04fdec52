// A message to anybody that is being written: it stays while something else is looked at, and over a reload.

import { letters } from '../feed/begun.svelte';
import type { Class, Priority } from '../proto';
import { Chosen } from './chosen.svelte';

const NAME = 'new';

class Letter {
  busy = $state(false);
  readonly chosen = new Chosen();

  key(): string {
    return letters.keyOf(NAME, this.chosen.attachments.map(({ digest }) => digest));
  }

  get to(): string[] {
    return letters.of(NAME).to;
  }
  set to(to: string[]) {
    letters.hold(NAME, { to });
  }
  get word(): string {
    return letters.of(NAME).word;
  }
  set word(word: string) {
    letters.hold(NAME, { word });
  }
  get body(): string {
    return letters.of(NAME).body;
  }
  set body(body: string) {
    letters.hold(NAME, { body });
  }
  get priority(): Priority {
    return letters.of(NAME).priority;
  }
  set priority(priority: Priority) {
    letters.hold(NAME, { priority });
  }
  get kind(): Class {
    return letters.of(NAME).kind;
  }
  set kind(kind: Class) {
    letters.hold(NAME, { kind });
  }
  get wants(): boolean {
    return letters.of(NAME).wants;
  }
  set wants(wants: boolean) {
    letters.hold(NAME, { wants });
  }
}

export const desk = new (class {
  letter = $state.raw(new Letter());
  clear(): void {
    letters.drop(NAME);
    this.letter = new Letter();
  }
})();
