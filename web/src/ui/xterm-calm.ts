// xterm.js does two things for every line that scrolls which an eye needs once a frame: it moves the scrollbar, with its timers and
// classes, and it has all rows drawn once more for a selection that does not exist. Where much scrolls that is a sixth of what it
// costs (240 and 205 ms of a processor for a MB in pieces of a frame). Neither can be turned off, so its parts are taken by their
// names; where those are not there, all is as it was. And whoever gives colours back has it write a style sheet of 54 kB and draw
// all rows, also where none was changed, as in every screen that the server begins with.

import type { IDisposable, Terminal } from '@xterm/xterm';

type Point = [number, number] | undefined;
type Parts = {
  _viewport?: { _sync?(row?: number): void; scrollLines?(lines: number): void; scrollToLine?(line: number, atOnce?: boolean): void };
  _renderService?: { handleSelectionChanged?(start: Point, end: Point, isColumns: boolean): void };
};

/** To be called when it is open. The answer ends it. */
export function calm(terminal: Terminal): () => void {
  const { _viewport: viewport, _renderService: drawing } = (terminal as unknown as { _core?: Parts })._core ?? {};
  let due = 0;
  let now: () => void = () => undefined;
  const sync = viewport?._sync;
  if (viewport && sync) {
    now = () => {
      if (!due) return;
      cancelAnimationFrame(due);
      due = 0;
      sync.call(viewport);
    };
    viewport._sync = (row) => {
      if (row !== undefined) return sync.call(viewport, row);
      due ||= requestAnimationFrame(now);
    };
    // It scrolls no further than what it last heard of. Without this, whoever goes to the end while much is printed stands above it
    // and is left behind; in a page that nobody sees the frame does not come at all.
    const { scrollLines, scrollToLine } = viewport;
    if (scrollLines) viewport.scrollLines = (...args) => (now(), scrollLines.apply(viewport, args));
    if (scrollToLine) viewport.scrollToLine = (...args) => (now(), scrollToLine.apply(viewport, args));
  }
  const colours = unchanged(terminal);
  const own = ['wheel', 'pointerdown'] as const;
  for (const event of own) terminal.element?.addEventListener(event, now, { capture: true, passive: true });
  const selected = drawing?.handleSelectionChanged;
  if (drawing && selected) {
    let was = false;
    drawing.handleSelectionChanged = (start, end, isColumns) => {
      const is = start !== undefined && end !== undefined;
      if (is || was) selected.call(drawing, start, end, isColumns);
      was = is;
    };
  }
  return () => {
    cancelAnimationFrame(due);
    for (const one of colours) one.dispose();
    for (const event of own) terminal.element?.removeEventListener(event, now, { capture: true });
  };
}

const [FIRST_COLOUR, LAST_COLOUR] = [10, 12];

/** Colours that nobody has changed are not given back. */
function unchanged({ parser }: Terminal): IDisposable[] {
  const changed = new Set<number>();
  const all: IDisposable[] = [];
  for (const which of [4, 10, 11, 12]) {
    all.push(
      parser.registerOscHandler(which, (words) => {
        // The second word of one may change the next.
        const many = which < FIRST_COLOUR ? 1 : Math.min(words.split(';').length, LAST_COLOUR + 1 - which);
        for (let one = which; one < which + many; one += 1) changed.add(one);
        return false;
      }),
      parser.registerOscHandler(which + 100, (words) => {
        const was = changed.has(which);
        if (words === '') changed.delete(which);
        return !was;
      }),
    );
  }
  return all;
}
