// Lines that crossed the pipes of an agent, as they are held here: a stretch without holes that grows at both ends.

import type { Frame, FramesPage } from '../proto';

export type Held = { frames: readonly Frame[]; /** Before the first; absent where nothing is. */ from: string | undefined; next: string };

export const NONE: Held = { frames: [], from: undefined, next: '' };

/** More is let go at the beginning while its reader is at the end; it is asked for again when they go up. */
export const HELD_MAX = 2000;

/** Before the first line of a run. */
const BEGINNING = '0.0.0.0';

/** Fewer than a page: what was asked for again must reach what comes since. */
const AGAIN_MAX = 100;

export const nameOf = (frame: Frame): string => `${frame.way}${frame.end}`;

export const held = (page: FramesPage): Held => ({ frames: page.frames, from: page.from, next: page.next });

/** From where to ask for what came since: what was told and not yet taken is asked for again. */
export function behind(of: Held): { after: string; kept: number } {
  const open = of.frames.findIndex((frame, at) => frame.doubt === 'begun' && at >= of.frames.length - AGAIN_MAX);
  const after = open > 0 ? of.frames[open - 1]!.place : (of.from ?? BEGINNING);
  return open < 0 ? { after: of.next, kept: of.frames.length } : { after, kept: open };
}

export const older = (of: Held, page: FramesPage): Held => ({ ...of, frames: [...page.frames, ...of.frames], from: page.from });

export const newer = (of: Held, kept: number, page: FramesPage): Held => ({ ...of, frames: [...of.frames.slice(0, kept), ...page.frames], next: page.next });

export function shorter(of: Held): Held {
  const over = of.frames.length - HELD_MAX;
  return over > 0 ? { ...of, frames: of.frames.slice(over), from: of.frames[over - 1]!.place } : of;
}

/** The value of a line that is JSON; `undefined` for any other, and for the beginning of one. */
export function valueOf(frame: Frame): unknown {
  if (frame.bytes !== undefined) return undefined;
  try {
    return JSON.parse(frame.text);
  } catch {
    return undefined;
  }
}
