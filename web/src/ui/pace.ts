// Terminals share the page's one thread with the person who types. What they print is handed on in pieces for a part of each
// frame, and only to as many terminals a frame as the page can draw in it: drawing costs more than reading. What answers a key
// goes first. What waits is not acknowledged, so the server slows down instead, and skips to what is there now.

type Piece = { bytes: Uint8Array; done(): void };
export type Sink = (bytes: Uint8Array, done: () => void) => void;
export type Clock = { frame(then: (at: number) => void): void; now(): number };

/** Of one piece: some milliseconds of parsing. */
const PIECE_BYTES = 32 * 1024;
/** An answer to a key is shorter. */
const ECHO_BYTES = 512;
/** The rest of a frame is for typing and painting. */
const FRAME_MS = 6;
/** A frame that comes so late had too much in it. */
const LATE_MS = 25;
/** Terminals that are drawn in one frame. */
const WIDTH_MAX = 8;
/** What a frame in time adds to that: back within half a second. */
const WIDTH_STEP = 0.25;

export class Pace {
  private readonly waiting = new Map<Sink, Piece[]>();
  private favoured: Sink | undefined;
  /** Who takes a piece. */
  private taking: { sink: Sink } | undefined;
  private framed = false;
  private began = 0;
  private last = 0;
  private width = WIDTH_MAX;
  private isTheirs = false;
  private readonly drawn = new Set<Sink>();

  constructor(private readonly clock: Clock) {}

  /** The one that is typed into: what it answers waits for nothing, and of what much prints it has every other frame. */
  favour(sink: Sink): void {
    this.favoured = sink;
  }

  unfavour(sink: Sink): void {
    if (this.favoured === sink) this.favoured = undefined;
  }

  put(sink: Sink, bytes: Uint8Array, done: () => void): void {
    const queue = this.waiting.get(sink);
    // It keeps the order of what it was given itself.
    if (!queue && sink === this.favoured && bytes.length <= ECHO_BYTES) return sink(bytes, done);
    if (queue) queue.push({ bytes, done });
    else this.waiting.set(sink, [{ bytes, done }]);
    this.next();
  }

  /** What waits for a sink is not wanted any more; it counts as taken. */
  drop(sink: Sink): void {
    const queue = this.waiting.get(sink);
    this.waiting.delete(sink);
    for (const piece of queue ?? []) piece.done();
    // One that is gone may never say that it took what it has; the others do not wait for that.
    if (this.taking?.sink !== sink) return;
    this.taking = undefined;
    this.next();
  }

  private next(): void {
    if (this.taking || this.waiting.size === 0) return;
    if (!this.framed) this.frame();
    const found = this.clock.now() - this.began < FRAME_MS ? this.choose() : undefined;
    if (!found) return;
    const [sink, queue] = found;
    const first = queue[0]!;
    const bytes = first.bytes.subarray(0, PIECE_BYTES);
    const isWhole = bytes.length === first.bytes.length;
    if (isWhole) queue.shift();
    else queue[0] = { ...first, bytes: first.bytes.subarray(PIECE_BYTES) };
    // To the end of the round.
    this.waiting.delete(sink);
    if (queue.length > 0) this.waiting.set(sink, queue);
    const mine = (this.taking = { sink });
    sink(bytes, () => {
      if (isWhole) first.done();
      if (this.taking !== mine) return;
      this.taking = undefined;
      this.next();
    });
  }

  /** Begins what a frame may take; the next one may again. */
  private frame(): void {
    this.framed = true;
    this.began = this.clock.now();
    this.drawn.clear();
    this.isTheirs = !this.isTheirs;
    this.clock.frame((at) => {
      this.framed = false;
      const took = at - this.last;
      this.last = at;
      this.width = took > LATE_MS ? Math.max(1, this.width / 2) : Math.min(WIDTH_MAX, this.width + WIDTH_STEP);
      this.next();
    });
  }

  private choose(): [Sink, Piece[]] | undefined {
    for (const entry of this.waiting) if (entry[1].length === 1 && entry[1][0]!.bytes.length <= ECHO_BYTES) return entry;
    const mine = this.favoured && this.waiting.get(this.favoured);
    const entries = [...this.waiting];
    if (mine && !this.isTheirs) entries.unshift([this.favoured!, mine]);
    for (const entry of entries) {
      // What is drawn in this frame anyway may take more of it.
      if (!this.drawn.has(entry[0]) && this.drawn.size >= Math.floor(this.width)) continue;
      this.drawn.add(entry[0]);
      return entry;
    }
    return undefined;
  }
}

export const pace = new Pace({ frame: (then) => requestAnimationFrame(then), now: () => performance.now() });
