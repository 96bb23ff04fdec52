// xterm.js does two things for every line that scrolls which an eye needs once a frame: it moves the scrollbar, with its timers and
// classes, and it draws all rows once more for a selection that does not exist. Where thousands of lines scroll in a second that is
// more than half of what they cost. Neither can be turned off, so its parts are taken by their names; without them it is as it was.

import type { Terminal } from '@xterm/xterm';

type Point = [number, number] | undefined;
type Parts = {
  _viewport?: { _sync?(row?: number): void };
  _renderService?: { handleSelectionChanged?(start: Point, end: Point, isColumns: boolean): void };
};

/** To be called when it is open. The answer ends it. */
export function calm(terminal: Terminal): () => void {
  const { _viewport: viewport, _renderService: drawing } = (terminal as unknown as { _core?: Parts })._core ?? {};
  let due = 0;
  const sync = viewport?._sync;
  if (viewport && sync) {
    viewport._sync = (row) => {
      if (row !== undefined) return sync.call(viewport, row);
      due ||= requestAnimationFrame(() => {
        due = 0;
        sync.call(viewport);
      });
    };
  }
  const selected = drawing?.handleSelectionChanged;
  if (drawing && selected) {
    let was = false;
    drawing.handleSelectionChanged = (start, end, isColumns) => {
      const is = start !== undefined && end !== undefined;
      if (is || was) selected.call(drawing, start, end, isColumns);
      was = is;
    };
  }
  return () => cancelAnimationFrame(due);
}
