import { describe, expect, it } from 'vitest';
import { card, grouped } from '../src/doc/card';
import { calm, rows, sides } from '../src/text/diff';
import type { Tool, ToolKind } from '../src/proto';

const of = (name: string, kind: ToolKind, title: string, input: unknown, output = '') =>
  card({ tool: { id: 't', name, kind, title, input } as Tool, output, status: 'done' });

describe('a card', () => {
  it('of a shell has the whole command, without the shell that a CLI put around it', () => {
    expect(of('Bash', 'execute', 'make', { command: 'make', description: 'build it' })).toMatchObject({ shape: 'shell', verb: 'Run', command: 'make', about: 'build it' });
    expect(of('commandExecution', 'execute', 'ls | wc', { command: "/bin/bash -lc 'ls | wc'" }).command).toBe('ls | wc');
    expect(of('Bash', 'execute', 'echo aaa…', { command: 'echo aaabbb' }).command).toBe('echo aaabbb');
    expect(of('shell', 'execute', 'x', { command: ['bash', '-c', 'x'] }).command).toBe('x');
  });

  it('of a reader says which lines', () => {
    expect(of('Read', 'read', '/a.rs', { file_path: '/a.rs', offset: 10, limit: 5 }).target).toBe('/a.rs:10–14');
    expect(of('Read', 'read', '/a.rs', { file_path: '/a.rs', limit: 5 }).target).toBe('/a.rs:1–5');
    expect(of('Read', 'read', '/a.rs', { file_path: '/a.rs', offset: 10 }).target).toBe('/a.rs:10–');
    expect(of('Read', 'read', 'a.rs', null).target).toBe('a.rs');
  });

  it('of a search has its matches by file, and its output where it is no list of them', () => {
    const found = of('Grep', 'search', 'fn', { pattern: 'fn', path: 'src' }, 'src/a.rs:3:fn a()\nsrc/b.rs:1:fn b()\n--\nsrc/a.rs-4-  body\nsrc/a.rs:9:fn c()\n');
    expect(found).toMatchObject({ target: 'fn', badge: 'in src' });
    expect(found.groups?.map(({ path, matches }) => [path, matches.length])).toEqual([['src/a.rs', 3], ['src/b.rs', 1]]);
    expect(grouped('Found 2 files\nsrc/a.rs\nsrc/b.rs\n')?.map(({ path }) => path)).toEqual(['src/a.rs', 'src/b.rs']);
    expect(grouped('It is in the second chapter.\nAnd nowhere else.')).toBeUndefined();
    expect(grouped('')).toBeUndefined();
  });

  it('of a list of things to do is the list', () => {
    const plan = of('TodoWrite', 'think', 'x', { todos: [{ content: 'one', status: 'completed' }, { content: 'two', status: 'in_progress' }, 3, { status: 'pending' }] });
    expect(plan).toMatchObject({ shape: 'plan', target: '1 of 2 done', todos: [{ text: 'one', status: 'completed' }, { text: 'two', status: 'in_progress' }] });
    expect(of('TodoWrite', 'think', 'x', { todos: 'none' }).shape).toBe('json');
  });

  it('of a sub-agent has what it is, what it used and what it said', () => {
    const told = 'Found it.\nagentId: a01 (use SendMessage)\n<usage>subagent_tokens: 57\ntool_uses: 1\nduration_ms: 93</usage>';
    expect(of('Agent', 'delegate', 'look', { description: 'look', prompt: 'Look there', subagent_type: 'scout', model: 'm1' }, told)).toMatchObject({ badge: 'scout', model: 'm1', tokens: 57, output: 'Found it.', about: 'Look there' });
    expect(of('Agent', 'delegate', 'look', {}, 'Plain').tokens).toBeUndefined();
  });

  it('of a tool of a server names both, and what is JSON is a tree', () => {
    expect(of('mcp__docs__find', 'mcp', 'mcp__docs__find', { q: 'a', n: 2 }, '{"hits":[1]}')).toMatchObject({ verb: 'docs · find', target: 'q: a, n: 2', result: { hits: [1] } });
    expect(of('docs.find', 'mcp', 'docs.find', {}, 'plain')).toMatchObject({ verb: 'docs · find' });
    expect(of('Odd', 'other', 'Odd', { a: 1 }, '{broken')).toMatchObject({ shape: 'json', verb: 'Odd', target: '', input: { a: 1 } });
    expect(of('WebFetch', 'fetch', 'https://example.org/a', { url: 'https://example.org/a' }).badge).toBe('example.org');
    expect(of('WebFetch', 'fetch', 'nothing', { url: ':' }).badge).toBeUndefined();
  });
});

describe('a change of a file', () => {
  const all = rows({ type: 'texts', old: 'a\nb\n  c\nd\n', new: 'a\nB\n    c\ne\nf\n' });
  it('without white space is what else changed', () => {
    expect(calm(all).map(({ sign, text }) => sign + text)).toEqual([' a', '-b', '+B', '     c', '-d', '+e', '+f']);
    expect(calm(rows({ type: 'texts', old: 'a\n', new: ' a\n' })).map(({ sign, old, new: now }) => [sign, old, now])).toEqual([[' ', 1, 1]]);
  });

  it('beside each other loses no row', () => {
    const pairs = sides(all);
    expect(pairs.flatMap(({ old }) => (old && old.sign !== ' ' ? [old.text] : []))).toEqual(all.filter(({ sign }) => sign === '-').map(({ text }) => text));
    expect(pairs.flatMap(({ new: now }) => (now && now.sign !== ' ' ? [now.text] : []))).toEqual(all.filter(({ sign }) => sign === '+').map(({ text }) => text));
    expect(sides(rows({ type: 'unified', diff: '@@ -1 +1,2 @@\n a\n+b\n' })).map(({ old, new: now }) => [old?.text, now?.text])).toEqual([['', ''], ['a', 'a'], [undefined, 'b']]);
  });
});
