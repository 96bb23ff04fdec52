import { describe, expect, it } from 'vitest';
import { Pace, type Sink } from '../src/ui/pace';

function world() {
  let frames: ((at: number) => void)[] = [];
  const clock = { at: 0, frame: (then: (at: number) => void) => void frames.push(then), now: () => clock.at };
  const log: string[] = [];
  const pending: (() => void)[] = [];
  const sink = (name: string): Sink => (bytes, done) => {
    log.push(`${name} ${bytes.length}`);
    pending.push(done);
  };
  const frame = (ms = 16) => {
    clock.at += ms;
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
  it('gives the one that is typed into every other frame and not all of them', () => {
    const { pace, log, sink, frame, done, clock } = world();
    const mine = sink('m');
    pace.favour(mine);
    for (const one of [mine, sink('a'), sink('b')]) pace.put(one, new Uint8Array(2_000_000), () => undefined);
    for (let i = 0; i < 40; i += 1) {
      clock.at += 7;
      done();
      frame(40);
    }
    const share = (name: string) => log.filter((line) => line[0] === name).length;
    expect(share('m')).toBeGreaterThan(15);
    expect(share('a')).toBeGreaterThan(8);
    expect(share('b')).toBeGreaterThan(8);
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
});
