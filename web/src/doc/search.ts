// Finding a place in a transcript by time. It is a file of lines in the order of time, read by place only, so the place is
// halved towards: a page of one entry a question.

import type { TranscriptEntry } from '../proto';

export type Page = { from: number; next: number; entries: TranscriptEntry[] };

/** More halvings than any file has bytes. */
const STEPS_MAX = 64;

/** Where the first entry begins that is not before `at`; `end` when there is none. `before` asks for the last entry that ends at a place or before it. */
export async function placeOf(at: number, end: number, before: (place: number) => Promise<Page>): Promise<number> {
  // Everything that ends at `low` is older; the entry that begins at `high` is not.
  let [low, high] = [0, end];
  for (let step = 0; step < STEPS_MAX && low < high; step += 1) {
    const middle = low + Math.ceil((high - low) / 2);
    const page = await before(middle);
    const entry = page.entries.at(-1);
    if (!entry || page.next <= low) {
      // The middle is inside the entry that begins at `low`, which is longer than half of what is left.
      const longer = await before(high);
      const last = longer.entries.at(-1);
      if (!last || longer.next <= low) return high;
      if (Date.parse(last.at) < at) low = longer.next;
      else high = longer.from;
    } else if (Date.parse(entry.at) < at) {
      low = page.next;
    } else {
      high = page.from;
    }
  }
  return high;
}
