import { describe, expect, it } from 'vitest';
import { BEGUN_MAX, begin, Drafts, Shelf } from '../src/feed/draft';

const keeper = (full = Infinity) => {
  const all = new Map<string, string>();
  return {
    all,
    get length() {
      return all.size;
    },
    key: (at: number) => [...all.keys()][at] ?? null,
    getItem: (key: string) => all.get(key) ?? null,
    setItem: (key: string, value: string) => {
      if (!all.has(key) && all.size >= full) throw new DOMException('full', 'QuotaExceededError');
      all.set(key, value);
    },
    removeItem: (key: string) => void all.delete(key),
  };
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

describe('what was begun', () => {
  const shelf = (there: ReturnType<typeof keeper>, now = { ms: 0 }) => new Shelf<{ text: string }>('reply', ({ text }) => (typeof text === 'string' ? { text } : null), () => there, () => (now.ms += 1));

  it('makes room for what is newer, the longest untouched first, and for nothing of another kind', () => {
    const there = keeper();
    there.setItem('agentmux.theme', '"dark"');
    there.setItem('agentmux.reply.broken', '{');
    const mine = shelf(there);
    for (let n = 0; n < BEGUN_MAX; n += 1) mine.put(`t${n}`, { text: `${n}` });
    mine.put('t0', { text: 'again' });
    mine.put('one more', { text: 'x' });
    expect(mine.names()).toHaveLength(BEGUN_MAX);
    expect([mine.get('t0'), mine.get('t1'), mine.get('t2'), mine.get('one more')]).toEqual([{ text: 'again' }, null, { text: '2' }, { text: 'x' }]);
    expect(there.getItem('agentmux.theme')).toBe('"dark"');
  });

  it('holds until the page closes where the storage is full, and is kept as soon as there is room', () => {
    const there = keeper(1);
    there.setItem('other', 'x');
    const mine = shelf(there);
    mine.put('a', { text: 'words' });
    expect([mine.get('a'), mine.names()]).toEqual([{ text: 'words' }, ['a']]);
    there.removeItem('other');
    mine.put('a', { text: 'words, more' });
    expect(shelf(there).get('a')).toEqual({ text: 'words, more' });
    mine.drop('a');
    expect([mine.get('a'), shelf(there).get('a')]).toEqual([null, null]);
  });

  it('is one truth for all windows of a browser', () => {
    const there = keeper();
    const [one, other] = [shelf(there), shelf(there)];
    one.put('a', { text: 'words' });
    expect(other.get('a')).toEqual({ text: 'words' });
    other.drop('a');
    expect(one.get('a')).toBe(null);
  });

  it('goes without a trace', () => {
    const there = keeper();
    const drafts = new Drafts(() => there);
    drafts.hold('api', { text: 'words', told: '' });
    shelf(there).put('a', { text: 'words' });
    drafts.clear();
    shelf(there).clear();
    expect([...there.all]).toEqual([]);
  });
});
