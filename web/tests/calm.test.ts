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
  return { done, viewport, element, made: { element, _core: { _viewport: viewport } } as unknown as Terminal };
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
});
