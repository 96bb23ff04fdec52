import { beforeEach, describe, expect, it, vi } from 'vitest';
import { AHEAD_MAX } from '../src/doc/extent';
import type { TranscriptEntry } from '../src/proto';

type Frame = { entries: { run: number; from: number; next: number; reset: boolean; live: boolean; entries: TranscriptEntry[] } };
const link: { is: string; since: number } = { is: 'open', since: 0 };
const wire = { frame: (_: Frame) => {}, get: (_: string, __: Record<string, number>): unknown => undefined };
vi.mock('../src/feed/store.svelte', () => ({
  store: {
    get link() {
      return link;
    },
    rows: { agent: new Map([['a', { run: 1 }]]) },
    wire: {
      stream: ({ frame }: { frame: (frame: Frame) => void }) => ((wire.frame = frame), { end: () => undefined }),
      get: async (what: string, args: Record<string, number>) => wire.get(what, args),
    },
  },
}));
const { Transcript } = await import('../src/doc/feed.svelte');

const SIZE = 10;
/** A file of entries of one size, one a minute; a place is the byte at which one begins. */
const entry = (n: number): TranscriptEntry => ({ n, i: 0, offset: n * SIZE, at: new Date(1767600000000 + n * 60_000).toISOString(), item: { type: 'message', id: `m${n}`, text: `Answer ${n}` } }) as unknown as TranscriptEntry;
const range = (from: number, to: number) => Array.from({ length: Math.max(0, to - from) }, (_, at) => entry(from + at));
let written = 0;
let asked: Record<string, number>[] = [];
function page({ before, after, limit }: Record<string, number>) {
  if (before === undefined && after === undefined) before = written * SIZE;
  const [from, to] = before === undefined ? [after! / SIZE, Math.min(written, after! / SIZE + limit!)] : [Math.max(0, Math.floor(before / SIZE) - limit!), Math.min(written, Math.floor(before / SIZE))];
  return { run: 1, from: from * SIZE, next: to * SIZE, entries: range(from, to) };
}
const told = (from: number, to: number, reset = false) => wire.frame({ entries: { run: 1, from: from * SIZE, next: to * SIZE, reset, live: false, entries: range(from, to) } });
const frame = () => new Promise(requestAnimationFrame);
const ids = (of: InstanceType<typeof Transcript>) => of.nodes.map((node) => node.id);

beforeEach(() => {
  asked = [];
  wire.get = (_, args) => (asked.push(args), page(args));
});

describe('an earlier time of a transcript', () => {
  it('has what came meanwhile once, when it reaches the end', async () => {
    written = 500;
    const of = new Transcript('a');
    of.listen();
    told(450, 500, true);
    // The page that joins them is read when this is written, and taken in before the next frame.
    written = 510;
    told(500, 510);
    await of.jump(Date.parse(entry(300).at));
    while (of.away) await of.later();
    for (let step = 0; step < 20; step += 1) await of.later();
    await frame();
    expect(new Set(ids(of)).size).toBe(of.nodes.length);
    expect(ids(of).filter((id) => !id.startsWith('day')).at(-1)).toBe('509.0');
  });
  it('is drawn a part at a time, and not anew for what comes since', async () => {
    written = 9000;
    const of = new Transcript('a');
    of.listen();
    told(8800, 9000, true);
    await of.jump(Number.NEGATIVE_INFINITY);
    const before = of.nodes;
    told(9000, 9001);
    await frame();
    expect(of.nodes).toBe(before);
    expect(of.grown).toBeGreaterThan(0);
    for (let step = 0; step < 60 && of.away; step += 1) {
      await of.later();
      expect(of.nodes.length).toBeLessThanOrEqual(AHEAD_MAX);
    }
    expect(of.away).toBe(true);
    const [top] = ids(of);
    expect(top).not.toBe('0.0');
    while (of.isCut) {
      await of.earlier();
      expect(of.nodes.length).toBeLessThanOrEqual(AHEAD_MAX);
    }
    expect(ids(of)[0]).toBe('0.0');
  });
});

describe('what came last', () => {
  it('has its time and its entries, which are a list of its own each time', async () => {
    written = 10;
    const of = new Transcript('a');
    of.listen();
    told(0, 10, true);
    expect(of.lastAt).toBe(Date.parse(entry(9).at));
    const before = of.raw;
    told(10, 12);
    await frame();
    expect([of.lastAt, of.raw.length, before.length]).toEqual([Date.parse(entry(11).at), 12, 10]);
  });
});

describe('a transcript that nobody follows', () => {
  const settled = async (of: InstanceType<typeof Transcript>) => {
    await vi.waitFor(() => expect(of.asks).toBe(false));
    await frame();
  };
  it('is asked for once, and goes on from what is shown', async () => {
    written = 300;
    const of = new Transcript('a');
    of.rest();
    await settled(of);
    expect([asked.length, of.raw.length]).toEqual([1, 100]);
    await of.earlier();
    await of.earlier();
    written = 310;
    await frame();
    expect(of.raw.at(-1)!.n).toBe(299);
    const before = of.raw[0]!.n;
    await of.refresh();
    await settled(of);
    expect([of.raw[0]!.n, of.raw.at(-1)!.n]).toEqual([before, 309]);
    expect(asked.at(-1)).toMatchObject({ after: 300 * SIZE });
  });
  it('shows the newest where much came, without a hole', async () => {
    written = 50;
    const of = new Transcript('a');
    of.rest();
    await settled(of);
    written = 900;
    await of.refresh();
    await settled(of);
    expect([of.raw[0]!.n, of.raw.at(-1)!.n]).toEqual([800, 899]);
    expect(of.isCut).toBe(true);
  });
  it('is as old as the link where that was down when it was left', () => {
    written = 50;
    const of = new Transcript('a');
    of.listen();
    told(40, 50, true);
    Object.assign(link, { is: 'waiting', since: 1000 });
    of.rest();
    expect(of.asOf).toBe(1000);
    link.is = 'open';
  });
  it('takes nothing that was asked for before it is followed again', async () => {
    written = 50;
    const of = new Transcript('a');
    of.rest();
    of.listen();
    told(40, 50, true);
    const item = { type: 'message_delta', id: 'now', text: 'as it is said' } as TranscriptEntry['item'];
    wire.frame({ entries: { run: 1, from: 500, next: 500, reset: false, live: true, entries: [{ ...entry(50), item }] } });
    await settled(of);
    expect(JSON.stringify(of.nodes.at(-1))).toContain('as it is said');
  });
});
