import { describe, expect, it } from 'vitest';
import { chord, match, score, shown, type Bound } from '../src/keys/keymap';

const press = (key: string, mods: Partial<Record<'ctrlKey' | 'metaKey' | 'altKey' | 'shiftKey', boolean>> = {}) => ({
  key, ctrlKey: false, metaKey: false, altKey: false, shiftKey: false, ...mods,
});
const bounds: Bound[] = [
  { id: 'palette', keys: ['mod+k'], scope: 'always' },
  { id: 'sheet', keys: ['?'], scope: 'page' },
  { id: 'inbox', keys: ['g i'], scope: 'page' },
  { id: 'agents', keys: ['g a'], scope: 'page' },
];

describe('keys', () => {
  it('name the command key of the system', () => {
    expect(chord(press('k', { ctrlKey: true }), false)).toBe('mod+k');
    expect(chord(press('k', { metaKey: true }), true)).toBe('mod+k');
    expect(chord(press('P', { ctrlKey: true, shiftKey: true }), false)).toBe('mod+shift+p');
    expect(chord(press('?', { shiftKey: true }), false)).toBe('?');
    expect(chord(press('ArrowLeft', { altKey: true, shiftKey: true }), false)).toBe('alt+shift+arrowleft');
  });
  it('are left to text fields and terminals but for a few', () => {
    expect(match(bounds, '?', '', true)).toBeNull();
    expect(match(bounds, 'mod+k', '', true)).toEqual({ run: 'palette' });
    expect(match(bounds, '?', '', false)).toEqual({ run: 'sheet' });
  });
  it('may be two in a row, and a wrong second is a first', () => {
    expect(match(bounds, 'g', '', false)).toEqual({ pending: 'g' });
    expect(match(bounds, 'i', 'g', false)).toEqual({ run: 'inbox' });
    expect(match(bounds, '?', 'g', false)).toEqual({ run: 'sheet' });
    expect(match(bounds, 'x', 'g', false)).toBeNull();
  });
  it('are shown as they stand on the keyboard', () => {
    expect(shown('mod+shift+p', false)).toEqual(['Ctrl+Shift+P']);
    expect(shown('f6', false)).toEqual(['F6']);
    expect(shown('g i', true)).toEqual(['G', 'I']);
  });
});

describe('the palette', () => {
  it('prefers whole words and starts', () => {
    const rank = (query: string, texts: string[]) => texts.slice().sort((a, b) => score(query, b) - score(query, a));
    expect(rank('new', ['Renew the lease', 'New agent', 'Open window'])[0]).toBe('New agent');
    expect(rank('na', ['Banana', 'New agent'])[0]).not.toBe(undefined);
    expect(score('xyz', 'New agent')).toBe(0);
    expect(score('nwag', 'New agent')).toBeGreaterThan(0);
  });
});
