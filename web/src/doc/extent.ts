// How much of a document is drawn: from where, and up to where. Whoever follows the end needs what is near it and nothing else; a
// reader further up keeps what is before the eyes. However much comes at once, a frame draws a little of it.

export type Extent = { /** The first node that is drawn. */ from: number; /** The first behind that is not. */ to: number };

/** What is drawn at once: two screens of short nodes. */
export const FIRST = 40;
/** What one frame draws more at the end; the rest comes with the frames behind it. */
export const GROW = 16;
/** What stays drawn before the eyes of one who follows: enough to go up without waiting. */
export const KEPT = 240;
/** Not for each node that comes; taking many away costs as much as taking one. */
const SLACK = 60;
/** Drawn for a reader who does not follow; what is beyond it comes when they are at its end. */
export const AHEAD_MAX = 600;

export const opened = (size: number): Extent => ({ from: Math.max(0, size - FIRST), to: size });

/** What is drawn next of a document of this size. */
export function grown(drawn: Extent, size: number, follows: boolean): Extent {
  let { from, to } = drawn;
  to = Math.min(to, size);
  if (!follows) return { from, to: Math.max(to, Math.min(size, to + GROW, from + AHEAD_MAX)) };
  // So far behind that it would only flash by.
  if (size - to > 2 * FIRST) from = to = size - FIRST;
  to = Math.min(size, to + GROW);
  if (to - from > KEPT + SLACK) from = to - KEPT;
  return { from, to };
}

/** So much further down, for a reader who came to the end of what is drawn. */
export function lower(drawn: Extent, size: number, by: number): Extent {
  const to = Math.max(drawn.to, Math.min(size, drawn.to + by));
  return { from: Math.max(drawn.from, to - AHEAD_MAX), to };
}

/** So much further up, for a reader who came to its beginning. */
export function upper(drawn: Extent, by: number): Extent {
  const from = Math.max(0, drawn.from - by);
  return { from, to: Math.min(drawn.to, from + AHEAD_MAX) };
}

/** Whether the frames behind this one have more to draw. */
export const isShort = (drawn: Extent, size: number, follows: boolean): boolean => drawn.to < size && (follows || drawn.to - drawn.from < AHEAD_MAX);
