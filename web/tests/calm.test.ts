import type { Terminal } from '@xterm/xterm';
import { describe, expect, it } from 'vitest';
import { calm } from '../src/ui/xterm-calm';

function terminal() {
  const done: string[] = [];
  const viewport = {
    _sync: (row?: number) => void done.push(row === undefined ? 'sync' : `sync ${row}`),
    scrollLines: (lines: number) => void done.push(`lines ${lines}`),
    scrollToLine: (line: number, atOnce?: boolean) => void done.push(`to ${line} ${atOnce}`),
  };
  const element = document.createElement('div');
  const handlers = new Map<number, (words: string) => boolean>();
  const parser = {
    registerOscHandler(which: number, handler: (words: string) => boolean) {
      handlers.set(which, handler);
      return { dispose: () => void handlers.delete(which) };
    },
  };
  return { done, viewport, element, handlers, made: { element, parser, _core: { _viewport: viewport } } as unknown as Terminal };
}

describe('a terminal that prints much', () => {
  it('moves its scrollbar once a frame', async () => {
    const { done, viewport, made } = terminal();
    calm(made);
    for (let line = 0; line < 50; line += 1) viewport._sync();
    expect(done).toEqual([]);
    await new Promise(requestAnimationFrame);
    expect(done).toEqual(['sync']);
  });
  it('knows how far it reaches before anything scrolls it', async () => {
    const { done, viewport, element, made } = terminal();
    const end = calm(made);
    viewport._sync();
    viewport.scrollToLine(7, true);
    viewport._sync();
    viewport.scrollLines(-1);
    viewport._sync();
    element.dispatchEvent(new Event('wheel'));
    element.dispatchEvent(new Event('pointerdown'));
    expect(done).toEqual(['sync', 'to 7 true', 'sync', 'lines -1', 'sync']);
    await new Promise(requestAnimationFrame);
    expect(done).toHaveLength(5);
    viewport._sync();
    end();
    element.dispatchEvent(new Event('wheel'));
    await new Promise(requestAnimationFrame);
    expect(done).toHaveLength(5);
  });
  it('is given its colours back where one was changed, and once', () => {
    const { handlers, made } = terminal();
    const end = calm(made);
    const isSwallowed = (which: number, words = '') => handlers.get(which)!(words);
    expect([104, 110, 111, 112].map((which) => isSwallowed(which))).toEqual([true, true, true, true]);
    for (const set of [4, 10, 11, 12]) {
      expect(isSwallowed(set, 'red')).toBe(false);
      expect([isSwallowed(set + 100), isSwallowed(set + 100)]).toEqual([false, true]);
    }
    // One of many is given back: the others are still changed.
    isSwallowed(4, '1;red;2;blue');
    expect([isSwallowed(104, '1'), isSwallowed(104), isSwallowed(104)]).toEqual([false, false, true]);
    // One sequence sets the colour of the text and of what is behind it.
    isSwallowed(10, 'red;blue');
    expect([110, 111, 112].map((which) => isSwallowed(which))).toEqual([false, false, true]);
    end();
    expect(handlers.size).toBe(0);
  });
});
