import { describe, expect, it } from 'vitest';
import { Pace, Rest, type Sink } from '../src/ui/pace';

function world() {
  let frames: ((at: number) => void)[] = [];
  let timers: { at: number; then: () => void }[] = [];
  const clock = {
    at: 0,
    frame: (then: (at: number) => void) => void frames.push(then),
    after: (ms: number, then: () => void) => void timers.push({ at: clock.at + ms, then }),
    now: () => clock.at,
  };
  const log: string[] = [];
  const pending: (() => void)[] = [];
  const sink = (name: string): Sink => (bytes, done) => {
    log.push(`${name} ${bytes.length}`);
    pending.push(done);
  };
  const frame = (ms = 16) => {
    clock.at += ms;
    const late = timers.filter(({ at }) => at <= clock.at);
    timers = timers.filter(({ at }) => at > clock.at);
    late.forEach(({ then }) => then());
    const due = frames;
    frames = [];
    due.forEach((then) => then(clock.at));
  };
  const all = () => {
    while (pending.length) pending.shift()!();
  };
  return { pace: new Pace(clock), clock, log, sink, done: () => pending.shift()?.(), all, frame };
}

describe('the pace of terminals', () => {
  it('takes turns in pieces, and tells when the whole was taken', () => {
    const { pace, log, sink, done } = world();
    const [a, b] = [sink('a'), sink('b')];
    let taken = 0;
    pace.put(a, new Uint8Array(80_000), () => (taken += 1));
    pace.put(b, new Uint8Array(10_000), () => undefined);
    for (let i = 0; i < 3; i += 1) done();
    expect(log).toEqual(['a 32768', 'a 32768', 'b 10000', 'a 14464']);
    expect(taken).toBe(0);
    done();
    expect(taken).toBe(1);
  });
  it('leaves the rest of a frame to others', () => {
    const { pace, log, sink, done, clock, frame } = world();
    const a = sink('a');
    pace.put(a, new Uint8Array(100_000), () => undefined);
    clock.at = 7;
    done();
    expect(log).toHaveLength(1);
    // What comes now is no reason to begin anew.
    pace.put(sink('b'), new Uint8Array(100_000), () => undefined);
    expect(log).toHaveLength(1);
    frame();
    expect(log).toHaveLength(2);
  });
  it('lets an echo go first', () => {
    const { pace, log, sink, done } = world();
    pace.put(sink('a'), new Uint8Array(100_000), () => undefined);
    pace.put(sink('b'), new Uint8Array(50_000), () => undefined);
    pace.put(sink('c'), new Uint8Array(3), () => undefined);
    done();
    expect(log[1]).toBe('c 3');
  });
  it('makes no answer of the one that is typed into wait, not even for a frame', () => {
    const { pace, log, sink, clock } = world();
    const mine = sink('mine');
    pace.favour(mine);
    pace.put(sink('a'), new Uint8Array(100_000), () => undefined);
    clock.at = 7;
    pace.put(mine, new Uint8Array(3), () => undefined);
    expect(log[1]).toBe('mine 3');
    pace.unfavour(mine);
    pace.put(mine, new Uint8Array(3), () => undefined);
    expect(log).toHaveLength(2);
  });
  it('begins nothing else between a key and the frame that shows its answer', () => {
    const { pace, log, sink, done, frame } = world();
    const mine = sink('mine');
    pace.favour(mine);
    pace.put(sink('a'), new Uint8Array(100_000), () => undefined);
    pace.typed(mine);
    done();
    frame();
    pace.put(sink('b'), new Uint8Array(100_000), () => undefined);
    expect(log).toEqual(['a 32768']);
    pace.put(mine, new Uint8Array(3), () => undefined);
    expect(log).toEqual(['a 32768', 'mine 3']);
    frame();
    expect(log).toHaveLength(3);
  });
  it('lets the others go on where a key has no answer, and for a frame before they wait again', () => {
    const { pace, log, sink, done, frame } = world();
    const mine = sink('mine');
    pace.favour(mine);
    pace.put(sink('a'), new Uint8Array(1_000_000), () => undefined);
    for (let i = 0; i < 100; i += 1) {
      pace.typed(mine);
      frame();
      done();
    }
    // Every 33 ms a key for three seconds, as of a key that is held down.
    expect(log.length).toBeGreaterThan(15);
  });
  it('draws one of the others at a time beside one that is typed into, in smaller pieces and not in every frame', () => {
    const { pace, log, sink, done, clock, frame } = world();
    const mine = sink('mine');
    pace.favour(mine);
    pace.typed(mine);
    pace.put(mine, new Uint8Array(3), () => undefined);
    for (const one of ['a', 'b', 'c'].map(sink)) pace.put(one, new Uint8Array(4_000_000), () => undefined);
    const drawn = () => {
      log.length = 0;
      frame();
      for (let i = 0; i < 4; i += 1) {
        clock.at += 2;
        done();
      }
      return new Set(log.map((line) => line[0]!));
    };
    const seen: string[] = [];
    for (let i = 0; i < 20; i += 1) {
      const now = drawn();
      expect(now.size).toBeLessThan(2);
      for (const line of log) expect(line).toMatch(/ 8192$/);
      seen.push(...now);
    }
    expect(seen.length).toBeLessThan(12);
    expect(new Set(seen)).toEqual(new Set(['a', 'b', 'c']));
    for (let i = 0; i < 60; i += 1) drawn();
    expect(drawn().size).toBe(3);
    expect(log[0]).toMatch(/ 32768$/);
  });
  it('draws fewer terminals a frame while frames come late, each in its turn, and all again when they do not', () => {
    const { pace, log, sink, frame, all } = world();
    const sinks = ['a', 'b', 'c', 'd'].map(sink);
    const round = (ms: number) => {
      log.length = 0;
      for (const one of sinks) pace.put(one, new Uint8Array(1000), () => undefined);
      all();
      frame(ms);
      all();
      return new Set(log.map((line) => line[0])).size;
    };
    expect(round(16)).toBe(4);
    for (let i = 0; i < 8; i += 1) round(60);
    const seen = new Set<string>();
    for (let i = 0; i < 4; i += 1) {
      round(60);
      expect(log.length).toBeGreaterThan(0);
      log.forEach((line) => seen.add(line[0]!));
    }
    expect(seen.size).toBe(4);
    for (let i = 0; i < 40; i += 1) round(16);
    expect(round(16)).toBe(4);
  });
  it.each([false, true])('gives the one that is typed into every other frame and not all of them, typing: %s', (isTyping) => {
    const { pace, log, sink, frame, done, clock } = world();
    const mine = sink('m');
    pace.favour(mine);
    for (const one of [mine, sink('a'), sink('b')]) pace.put(one, new Uint8Array(2_000_000), () => undefined);
    for (let i = 0; i < 40; i += 1) {
      if (isTyping && i % 2) pace.typed(mine);
      clock.at += 7;
      done();
      frame(40);
    }
    const share = (name: string) => log.filter((line) => line[0] === name).length;
    expect(share('m')).toBeGreaterThan(15);
    expect(share('a')).toBeGreaterThan(isTyping ? 3 : 8);
    expect(share('b')).toBeGreaterThan(isTyping ? 3 : 8);
  });
  it('counts what is dropped as taken', () => {
    const { pace, sink } = world();
    const a = sink('a');
    let taken = 0;
    pace.put(a, new Uint8Array(3), () => (taken += 1));
    pace.put(a, new Uint8Array(5), () => (taken += 1));
    pace.drop(a);
    expect(taken).toBe(1);
  });
  it('does not wait for one that is gone', () => {
    const { pace, log, sink } = world();
    const a = sink('a');
    pace.put(a, new Uint8Array(3), () => undefined);
    pace.put(sink('b'), new Uint8Array(3), () => undefined);
    expect(log).toEqual(['a 3']);
    pace.drop(a);
    expect(log).toEqual(['a 3', 'b 3']);
  });
  it('owes nothing to the one that is typed into, so that the next key finds the thread free', () => {
    const { pace, log, sink, frame, done } = world();
    const mine = sink('mine');
    pace.favour(mine);
    pace.put(mine, new Uint8Array(1_000_000), () => undefined);
    pace.typed(mine);
    frame(60);
    done();
    pace.typed(mine);
    pace.put(sink('a'), new Uint8Array(100_000), () => undefined);
    for (let i = 0; i < 2; i += 1) (frame(16), done(), done());
    expect(log.filter((line) => line.startsWith('a'))).toEqual([]);
    for (let i = 0; i < 4; i += 1) (frame(60), done());
    expect(log.some((line) => line.startsWith('a'))).toBe(true);
  });
  it.each(['printed a little', 'were closed'])('waits for a key again when the others have waited and %s', (what) => {
    const { pace, log, sink, frame, all } = world();
    const [mine, a] = [sink('mine'), sink('a')];
    pace.favour(mine);
    pace.typed(mine);
    pace.put(a, new Uint8Array(3), () => undefined);
    if (what === 'were closed') pace.put(sink('b'), new Uint8Array(0), () => undefined);
    expect(log).toEqual([]);
    // No answer came.
    frame(60);
    if (what === 'were closed') pace.drop(a);
    all();
    frame();
    log.length = 0;
    pace.typed(mine);
    pace.put(a, new Uint8Array(100_000), () => undefined);
    expect(log).toEqual([]);
  });
});

describe('a size that is told', () => {
  it('is the first at once and the last when it rests, and none of those between', () => {
    const { clock, frame } = world();
    let [size, isOpen] = [0, true];
    const told: number[] = [];
    const rest = new Rest(clock, () => void (told.at(-1) === size || !isOpen || told.push(size)));
    const drag = (frames: number) => {
      for (let i = 0; i < frames; i += 1) {
        size += 1;
        rest.changed();
        frame();
      }
    };
    drag(60);
    expect(told).toEqual([1]);
    expect(rest.isMoving).toBe(true);
    frame(200);
    expect(told).toEqual([1, 60]);
    expect(rest.isMoving).toBe(false);
    drag(1);
    frame(200);
    expect(told).toEqual([1, 60, 61]);
    isOpen = false;
    drag(1);
    isOpen = true;
    frame(200);
    expect(told, 'also where nobody could be told at first').toEqual([1, 60, 61, 62]);
  });
});
