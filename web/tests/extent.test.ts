import { describe, expect, it } from 'vitest';
import { AHEAD_MAX, FIRST, GROW, KEPT, grown, isShort, lower, opened, upper, type Extent } from '../src/doc/extent';

function settled(drawn: Extent, size: number, follows: boolean): { drawn: Extent; frames: number; most: number } {
  let [frames, most] = [0, 0];
  while (isShort(drawn, size, follows)) {
    const next = grown(drawn, size, follows);
    most = Math.max(most, next.to - Math.max(drawn.to, next.from));
    drawn = next;
    frames += 1;
    expect(frames).toBeLessThan(1000);
  }
  return { drawn, frames, most };
}

describe('how much of a document is drawn', () => {
  it('opens with its end', () => {
    expect(opened(12)).toEqual({ from: 0, to: 12 });
    expect(opened(1000)).toEqual({ from: 1000 - FIRST, to: 1000 });
  });
  it('draws a little in each frame, however much came, and all of it in the end', () => {
    const { drawn, most } = settled({ from: 0, to: 20 }, 90, true);
    expect(drawn).toEqual({ from: 0, to: 90 });
    expect(most).toBe(GROW);
  });
  it('goes to the end of a storm without showing what nobody could read', () => {
    const { drawn, frames } = settled({ from: 0, to: 40 }, 5000, true);
    expect(drawn).toEqual({ from: 5000 - FIRST, to: 5000 });
    expect(frames).toBeLessThan(5);
  });
  it('keeps no more above one who follows than they would go up', () => {
    let drawn = opened(40);
    for (let size = 41; size < 2000; size += 1) {
      drawn = grown(drawn, size, true);
      expect(drawn.to).toBe(size);
      expect(drawn.to - drawn.from).toBeLessThanOrEqual(KEPT + 60);
    }
  });
  it('takes nothing away from one who reads further up, and stops where they would not see it', () => {
    const { drawn } = settled({ from: 100, to: 140 }, 5000, false);
    expect(drawn).toEqual({ from: 100, to: 100 + AHEAD_MAX });
    // They went to the end of it.
    expect(settled(drawn, 5000, true).drawn.to).toBe(5000);
  });
  it('moves with one who reads page after page, and never draws all of them', () => {
    let drawn: Extent = { from: 0, to: 300 };
    for (let size = 300; size < 20_000; size += 100) drawn = lower(drawn, size, 120);
    expect(drawn.to - drawn.from).toBe(AHEAD_MAX);
    expect(lower(drawn, drawn.to, 120)).toEqual(drawn);
    const from = drawn.from;
    drawn = upper(drawn, 120);
    expect(drawn).toEqual({ from: from - 120, to: from - 120 + AHEAD_MAX });
    while (drawn.from > 0) drawn = upper(drawn, 120);
    expect(drawn).toEqual({ from: 0, to: AHEAD_MAX });
  });
  it('gives back what went away', () => {
    expect(grown({ from: 3, to: 9 }, 7, true)).toEqual({ from: 3, to: 7 });
    expect(grown({ from: 3, to: 9 }, 7, false)).toEqual({ from: 3, to: 7 });
  });
});
