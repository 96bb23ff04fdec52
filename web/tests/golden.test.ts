// The second half of a chain: what recorded CLIs said, as the dialects made it into entries (golden/recorded, written by
// crates/amux-agents/tests/golden.rs), becomes these documents. However the entries come - one by one with what streams
// between them, from the middle on, with holes, after a reconnection, or all at once - the document is the same.

import { describe, expect, it } from 'vitest';
import { Doc, Passing, isPassing, type Node } from '../src/doc/derive';
import type { TranscriptEntry, TranscriptItem } from '../src/proto';
import { entries } from './entries';

type Case = { name: string; entries: TranscriptEntry[] };

const files = import.meta.glob<string>('../golden/recorded/*.entries.jsonl', { eager: true, query: '?raw', import: 'default' });
const recorded: Case[] = Object.entries(files).map(([path, text]) => ({
  name: path.replace(/^.*\/|\.entries\.jsonl$/g, ''),
  entries: text.trimEnd().split('\n').map((line) => JSON.parse(line) as TranscriptEntry),
}));
const made: Case[] = Object.values(import.meta.glob<{ default: { name: string; items: TranscriptItem[]; step_s?: number } }>('../golden/doc/*.json', { eager: true })).map(({ default: one }) => ({
  name: one.name,
  entries: entries(one.items, one.step_s),
}));
const all = [...recorded, ...made];

const lines = (nodes: readonly Node[]) => nodes.map((node) => `${JSON.stringify(node)}\n`).join('');
const stored = (some: readonly TranscriptEntry[]) => some.filter(({ item }) => !isPassing(item));

/** A repeatable throw: what fails says its seed. */
function dice(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

describe.each(recorded)('what was recorded: $name', ({ name, entries }) => {
  it('is the document that is kept', async () => {
    await expect(lines(Doc.of(stored(entries)).nodes())).toMatchFileSnapshot(`../golden/recorded/${name}.nodes.jsonl`);
  });
});

describe('what is kept', () => {
  const kinds = new Set<string>();
  const walk = (nodes: readonly Node[]) => {
    for (const node of nodes) {
      kinds.add(node.kind);
      if (node.kind === 'tool') walk(node.children);
    }
  };
  for (const one of all) walk(Doc.of(stored(one.entries)).nodes());

  it('has every kind of node, and every CLI that is recorded', () => {
    const every: Node['kind'][] = ['user', 'text', 'thinking', 'tool', 'plan', 'ask', 'task', 'diff', 'retry', 'compaction', 'error', 'notice', 'session', 'turn', 'mode', 'day', 'unknown'];
    expect(every.filter((kind) => !kinds.has(kind))).toEqual([]);
    const clis = ['claude-2', 'claude-agent-acp', 'codex', 'gemini', 'opencode', 'qwen'];
    expect(clis.filter((cli) => !recorded.some(({ name }) => name.startsWith(cli)))).toEqual([]);
  });
});

const ROUNDS = 60;

describe.each(all)('however it comes: $name', ({ entries }) => {
  const whole = lines(Doc.of(stored(entries)).nodes());

  it('the document is the same live and after a reload', () => {
    expect(lines(Doc.of(entries).nodes())).toBe(whole);
  });

  it('the document is the same from the middle on, with holes in what streams, and made anew at any moment', () => {
    for (let seed = 1; seed <= ROUNDS; seed += 1) {
      const roll = dice(seed);
      const from = roll(entries.length + 1);
      let doc = Doc.of(stored(entries.slice(0, from)));
      let passing = new Passing();
      let isTorn = roll(2) === 0;
      entries.slice(from).forEach((entry, at) => {
        if (isPassing(entry.item)) {
          // A reader who is slow hears nothing more of it before the next entry.
          isTorn ||= roll(8) === 0;
          if (isTorn) return;
        } else {
          isTorn = false;
        }
        passing.take(entry);
        doc.push(entry);
        const soFar = stored(entries.slice(0, from + at + 1));
        // An earlier page came, or the connection was lost.
        if (roll(10) === 0) doc = Doc.of(passing.among(soFar));
        if (roll(25) === 0) {
          passing = new Passing();
          isTorn = true;
          doc = Doc.of(soFar);
        }
      });
      expect(lines(doc.nodes()), `seed ${seed}`).toBe(whole);
    }
  });

  it('at no moment does what is settled differ from what a reload would show', () => {
    const settled = (nodes: readonly Node[]): unknown[] =>
      nodes
        .filter((node) => !((node.kind === 'text' || node.kind === 'thinking') && node.open))
        .map((node) => {
          if (node.kind === 'tool') return { ...node, output: node.status === 'running' ? '' : node.output, children: settled(node.children) };
          // What streams shows that it goes on again.
          return node.kind === 'retry' ? { ...node, over: null } : node;
        });
    const doc = new Doc();
    entries.forEach((entry, at) => {
      doc.push(entry);
      const reload = Doc.of(stored(entries.slice(0, at + 1)));
      expect(JSON.stringify(settled(doc.nodes())), `after ${at}`).toBe(JSON.stringify(settled(reload.nodes())));
    });
  });
});
