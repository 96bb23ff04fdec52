import { describe, expect, it } from 'vitest';
import { HELD_MAX, behind, held, newer, older, shorter, valueOf } from '../src/doc/frames';
import type { Frame, FramesPage } from '../src/proto';

const frame = (n: number, more: Partial<Frame> = {}): Frame => ({ way: 'said', text: `${n}`, end: n, place: `p${n}`, ...more });
const page = (frames: Frame[], from: string | undefined, next: string): FramesPage => ({ agent: 'a', run: 1, frames, from, next });

describe('frames that are held', () => {
  it('grow at both ends without a hole', () => {
    let all = held(page([frame(3), frame(4)], 'p2', 'p4'));
    all = older(all, page([frame(1), frame(2)], undefined, 'p2'));
    const { after, kept } = behind(all);
    expect([after, kept]).toEqual(['p4', 4]);
    all = newer(all, kept, page([frame(5)], 'p4', 'p5'));
    expect(all.frames.map(({ end }) => end)).toEqual([1, 2, 3, 4, 5]);
    expect([all.from, all.next]).toEqual([undefined, 'p5']);
  });

  it('ask again for what was told and not yet taken', () => {
    let all = held(page([frame(1), frame(2, { way: 'told', doubt: 'begun' }), frame(3)], 'p0', 'p3'));
    const { after, kept } = behind(all);
    expect([after, kept]).toEqual(['p1', 1]);
    all = newer(all, kept, page([frame(2, { way: 'told' }), frame(3), frame(4)], 'p1', 'p4'));
    expect(all.frames.map(({ end, doubt }) => [end, doubt])).toEqual([[1, undefined], [2, undefined], [3, undefined], [4, undefined]]);
    expect(behind(held(page([frame(2, { way: 'told', doubt: 'begun' })], 'p1', 'p2')))).toEqual({ after: 'p1', kept: 0 });
    const long = [frame(1), frame(2, { way: 'told', doubt: 'begun' }), ...Array.from({ length: 200 }, (_, n) => frame(n + 3))];
    expect(behind(held(page(long, undefined, 'end'))).after, 'a page would not reach the end').toBe('end');
    expect(behind(held(page([frame(1, { way: 'told', doubt: 'begun' })], undefined, 'p1')))).toEqual({ after: '0.0.0.0', kept: 0 });
  });

  it('are let go at the beginning, and known where they go on', () => {
    const all = shorter(held(page(Array.from({ length: HELD_MAX + 5 }, (_, n) => frame(n)), undefined, 'end')));
    expect([all.frames.length, all.frames[0]!.end, all.from]).toEqual([HELD_MAX, 5, 'p4']);
  });

  it('are opened as what they are', () => {
    expect(valueOf(frame(1, { text: '{"a":[1]}' }))).toEqual({ a: [1] });
    expect(valueOf(frame(1, { text: '{"a":' }))).toBeUndefined();
    expect(valueOf(frame(1, { text: '{"a":1}', bytes: 100_000 }))).toBeUndefined();
  });
});
