import { describe, expect, it } from 'vitest';
import { begin, Drafts } from '../src/feed/draft';

const keeper = () => {
  const all = new Map<string, string>();
  return { getItem: (key: string) => all.get(key) ?? null, setItem: (key: string, value: string) => void all.set(key, value), removeItem: (key: string) => void all.delete(key) };
};

describe('a draft of several devices', () => {
  it('comes up as another device left it, though this one has cleared its own before', () => {
    const drafts = new Drafts(keeper);
    drafts.hold('api', { text: 'sent long ago', told: '' });
    drafts.told('api', 'sent long ago');
    drafts.hold('api', { text: '', told: 'sent long ago' });
    drafts.told('api', '');
    expect(begin(drafts.of('api'), 'of the phone')).toBe('of the phone');
  });

  it('is not raised from the dead by a device that had it', () => {
    const there = keeper();
    const drafts = new Drafts(() => there);
    drafts.hold('api', { text: 'words', told: '' });
    drafts.told('api', 'words');
    expect(begin(new Drafts(() => there).of('api'), '')).toBe('');
  });

  it('outlives a page that closes before the server has it', () => {
    const there = keeper();
    new Drafts(() => there).hold('api', { text: 'words, more', told: 'words' });
    const own = new Drafts(() => there).of('api');
    expect(begin(own, 'words')).toBe('words, more');
    expect(begin(own, '')).toBe('words, more');
    expect(begin(own, 'other words')).toBe('other words');
  });

  it('holds in a browser that keeps nothing, and takes no harm from what is not its own', () => {
    const drafts = new Drafts(() => { throw new Error('forbidden'); });
    drafts.hold('api', { text: 'words', told: '' });
    expect(drafts.of('api')).toEqual({ text: 'words', told: '' });
    expect(new Drafts(() => ({ ...keeper(), getItem: () => '7' })).of('api')).toBe(null);
  });
});
