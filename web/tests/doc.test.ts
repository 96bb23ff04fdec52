import { describe, expect, it } from 'vitest';
import { Doc, Passing } from '../src/doc/derive';
import type { TranscriptEntry, TranscriptItem } from '../src/proto';

type Case = { name: string; items: TranscriptItem[]; nodes: unknown[] };

const cases = Object.values(import.meta.glob<{ default: Case }>('../golden/doc/*.json', { eager: true })).map((file) => file.default);

/** A second apart, one item an input. */
export const entries = (items: TranscriptItem[]): TranscriptEntry[] =>
  items.map((item, n) => ({ n: n + 1, i: 0, offset: n * 100, at: new Date(Date.UTC(2026, 0, 1, 0, 0, n)).toISOString(), item }));

describe('a document that is made anew in the middle of a turn', () => {
  const all = entries([
    { type: 'turn_started', turn: 1, trigger: 'input' },
    { type: 'message_delta', id: 'm', text: 'first ' },
    { type: 'message', id: 'm', text: 'first whole' },
    { type: 'turn_ended', turn: 1, end: { type: 'done' } },
    { type: 'turn_started', turn: 2, trigger: 'input' },
    { type: 'message_delta', id: 'n', text: 'not yet ' },
    { type: 'usage', usage: {} },
    { type: 'message_delta', id: 'n', text: 'whole' },
  ] as TranscriptItem[]);

  it('shows what streams as it was', () => {
    const passing = new Passing();
    for (const entry of all) passing.take(entry);
    const stored = all.filter(({ item }) => !isPassing(item));
    expect(Doc.of(passing.among(stored)).nodes()).toEqual(Doc.of(all).nodes());
    expect(passing.among(stored)).toHaveLength(stored.length + 2);
  });

  it('keeps so much of it at most', () => {
    const passing = new Passing();
    for (let i = 0; i < 20_000; i += 1) passing.take({ ...all[5]!, i });
    const kept = passing.among([]);
    expect(kept.length).toBeLessThanOrEqual(8192);
    expect(kept.at(-1)!.i).toBe(19_999);
  });
});

const isPassing = (item: TranscriptItem) => /_delta$|^tool_output$/.test(item.type);

describe.each(cases)('the document: $name', ({ items, nodes }) => {
  it('is what the golden file says', () => {
    expect(JSON.parse(JSON.stringify(Doc.of(entries(items)).nodes()))).toEqual(nodes);
  });

  it('is the same fed one by one, looked at after each, and fed twice', () => {
    const doc = new Doc();
    for (const entry of entries(items)) {
      doc.push(entry);
      doc.nodes();
      if (!isPassing(entry.item)) doc.push(entry);
    }
    expect(doc.nodes()).toEqual(Doc.of(entries(items)).nodes());
  });

  it('never changes a node in place', () => {
    const doc = new Doc();
    const seen: [unknown, string][] = [];
    for (const entry of entries(items)) {
      doc.push(entry);
      for (const node of doc.nodes()) seen.push([node, JSON.stringify(node)]);
    }
    for (const [node, then] of seen) expect(JSON.stringify(node)).toBe(then);
  });

  it('is the same for those who came when it was over', () => {
    const live = Doc.of(entries(items)).nodes();
    const later = Doc.of(entries(items).filter(({ item }) => !isPassing(item))).nodes();
    const settled = (all: unknown[]) => JSON.stringify(all);
    // Only output that was never told whole is missing.
    if (!items.some((item) => item.type === 'tool_output')) expect(settled(later)).toBe(settled(live));
  });
});
