// The notes of a person as every view reads them. A change holds here at once and goes to the server, which is asked again with
// what another device wrote meanwhile.

import { CODED, pruned, type Notes } from './notes';
import { Refused } from './link';
import { store } from './store.svelte';

/** What is done in one go is written in one go. */
const GATHER_MS = 150;
const TRIES_MAX = 6;

class Note<K extends keyof Notes> {
  private changes = $state.raw<((value: Notes[K]) => Notes[K])[]>([]);
  /** Written and answered; holds until a newer row is here. */
  private told = $state.raw<{ rev: number; value: Notes[K] } | null>(null);
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly which: K) {}

  private rev(): number {
    return store.rows.setting.get(CODED[this.which].key)?.rev ?? 0;
  }
  private known(): Notes[K] {
    const row = store.rows.setting.get(CODED[this.which].key);
    if (this.told && (row?.rev ?? 0) <= this.told.rev) return this.told.value;
    return row ? CODED[this.which].read(row.value) : CODED[this.which].none;
  }

  value = $derived.by(() => this.changes.reduce((value, change) => change(value), this.known()));

  /** `change` is made again on what another device wrote, so it says what and not where. */
  change(change: (value: Notes[K]) => Notes[K]): void {
    this.changes = [...this.changes, change];
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.write(), GATHER_MS);
  }

  private async write(): Promise<void> {
    for (let tries = 0; this.changes.length > 0; tries += 1) {
      const mine = this.changes;
      const rev = this.rev();
      const agents = new Set(store.agents.map((agent) => agent.uid));
      const wanted = mine.reduce((value, change) => change(value), this.known());
      const value = store.loaded ? pruned(this.which, wanted, agents, Date.now()) : wanted;
      try {
        await store.wire.cmd('setting.set', { key: CODED[this.which].key, value: CODED[this.which].write(value) }, rev);
        this.told = { rev, value };
        this.changes = this.changes.slice(mine.length);
        tries = 0;
      } catch (error) {
        if (error instanceof Refused && error.failure.code === 'stale' && tries < TRIES_MAX) {
          // The row of the other device is on its way.
          await new Promise((go) => setTimeout(go, 100));
          continue;
        }
        // It holds on this device until the page closes; why the server does not take it is said once.
        this.told = { rev: Number.MAX_SAFE_INTEGER, value: wanted };
        this.changes = this.changes.slice(mine.length);
        store.failed(error);
      }
    }
  }
}

export const notes = { muted: new Note('muted'), snoozed: new Note('snoozed'), seen: new Note('seen'), order: new Note('order') };
