import { describe, expect, it } from 'vitest';
import { Doc, Passing } from '../src/doc/derive';
import type { TranscriptItem } from '../src/proto';
import { entries } from './entries';

type Case = { name: string; items: TranscriptItem[]; step_s?: number; nodes: unknown[] };

const cases = Object.values(import.meta.glob<{ default: Case }>('../golden/doc/*.json', { eager: true })).map((file) => file.default);

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

describe.each(cases)('the document: $name', ({ items, nodes, step_s }) => {
  it('is what the golden file says', () => {
    expect(JSON.parse(JSON.stringify(Doc.of(entries(items, step_s)).nodes()))).toEqual(nodes);
  });

  it('is the same fed one by one, looked at after each, and fed twice', () => {
    const doc = new Doc();
    for (const entry of entries(items, step_s)) {
      doc.push(entry);
      doc.nodes();
      if (!isPassing(entry.item)) doc.push(entry);
    }
    expect(doc.nodes()).toEqual(Doc.of(entries(items, step_s)).nodes());
  });

  it('never changes a node in place', () => {
    const doc = new Doc();
    const seen: [unknown, string][] = [];
    for (const entry of entries(items, step_s)) {
      doc.push(entry);
      for (const node of doc.nodes()) seen.push([node, JSON.stringify(node)]);
    }
    for (const [node, then] of seen) expect(JSON.stringify(node)).toBe(then);
  });
});
