// A message to anybody that is being written: it stays while something else is looked at.

import type { Class, Priority } from '../proto';
import { Chosen } from './chosen.svelte';

class Letter {
  to = $state.raw<string[]>([]);
  word = $state('');
  body = $state('');
  priority = $state<Priority>('normal');
  kind = $state<Class>('request');
  wants = $state(false);
  busy = $state(false);
  readonly chosen = new Chosen();
}

export const desk = new (class {
  letter = $state.raw(new Letter());
  clear(): void {
    this.letter = new Letter();
  }
})();
