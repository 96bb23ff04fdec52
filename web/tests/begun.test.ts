import { afterEach, describe, expect, it } from 'vitest';
import { answers, forgetWords, letters, quick, replies } from '../src/feed/begun.svelte';

describe('words that were begun', () => {
  afterEach(forgetWords);

  it('leave nothing behind when they are taken back', () => {
    replies.hold('t', { text: 'half' });
    expect(replies.of('t')).toEqual({ text: 'half', going: '', id: '' });
    replies.hold('t', { text: '' });
    letters.hold('new', { to: ['api@shop'] });
    letters.hold('new', { to: [] });
    expect(localStorage.length).toBe(0);
  });

  it('are what they are to be, whatever the storage has', () => {
    localStorage.setItem('agentmux.letter.new', JSON.stringify({ to: 'api', body: 'words', wants: 1, more: true }));
    expect(letters.of('new')).toEqual({ to: [], word: '', body: 'words', priority: 'normal', kind: 'request', wants: false, key: '' });
    for (const text of ['{', '7', 'null', '[]']) {
      localStorage.setItem('agentmux.answer.a', text);
      expect(answers.of('a')).toEqual({ text: '', why: '' });
    }
  });

  it('go out with one key until they are changed', () => {
    letters.hold('new', { to: ['api@shop'], body: 'words' });
    const key = letters.keyOf('new', []);
    expect(key).not.toBe('');
    letters.hold('new', { body: 'words', word: '' });
    expect(letters.keyOf('new', [])).toBe(key);
    const others = [letters.keyOf('new', ['f1']), letters.keyOf('new', ['f2'])];
    expect(letters.keyOf('new', ['f2'])).toBe(others[1]);
    letters.hold('new', { body: 'other words' });
    others.push(letters.keyOf('new', ['f2']));
    expect(new Set([key, ...others]).size).toBe(4);
    letters.drop('new');
    expect(localStorage.length).toBe(0);
  });

  it('go with what was settled, and all of them with whoever signs out', () => {
    for (const id of ['a', 'b']) answers.hold(id, { text: id });
    quick.hold('m', { text: 'm' });
    answers.keep((id) => id === 'b');
    expect([answers.of('a').text, answers.of('b').text]).toEqual(['', 'b']);
    localStorage.setItem('agentmux.theme', '"dark"');
    forgetWords();
    expect(Object.keys(localStorage)).toEqual(['agentmux.theme']);
    localStorage.clear();
  });
});
