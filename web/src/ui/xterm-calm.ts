// xterm.js does two things for every line that scrolls which an eye needs once a frame: it moves the scrollbar, with its timers and
// classes, and it has all rows drawn once more for a selection that does not exist. Where much scrolls that is a sixth of what it
// costs (240 and 205 ms of a processor for a MB in pieces of a frame). Neither can be turned off, so its parts are taken by their
// names; where those are not there, all is as it was.

import type { Terminal } from '@xterm/xterm';

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
    for (const event of own) terminal.element?.removeEventListener(event, now, { capture: true });
  };
}
