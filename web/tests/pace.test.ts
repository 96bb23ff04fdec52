import { describe, expect, it } from 'vitest';
import { Pace, type Sink } from '../src/ui/pace';

function world() {
  let frames: (() => void)[] = [];
  const clock = { at: 0, frame: (then: () => void) => void frames.push(then), now: () => clock.at };
  const log: string[] = [];
  const pending: (() => void)[] = [];
  const sink = (name: string): Sink => (bytes, done) => {
    log.push(`${name} ${bytes.length}`);
    pending.push(done);
  };
  return { pace: new Pace(clock), clock, log, sink, done: () => pending.shift()?.(), frame: () => { const now = frames; frames = []; now.forEach((then) => then()); } };
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
  it('counts what is dropped as taken', () => {
    const { pace, sink } = world();
    const a = sink('a');
    let taken = 0;
    pace.put(a, new Uint8Array(3), () => (taken += 1));
    pace.put(a, new Uint8Array(5), () => (taken += 1));
    pace.drop(a);
    expect(taken).toBe(1);
  });
});
