// Terminals share the page's one thread with the person who types. What they print is handed on in pieces for a part of each
// frame, and only to as many terminals a frame as the page can draw in it: drawing costs more than reading. What answers a key
// goes first, and for a moment after a key nothing else is begun. What waits is not acknowledged, so the server slows down
// instead, and skips to what is there now.

type Piece = { bytes: Uint8Array; done(): void };
export type Sink = (bytes: Uint8Array, done: () => void) => void;
export type Clock = { frame(then: (at: number) => void): void; after(ms: number, then: () => void): void; now(): number };

/** Of one piece: some milliseconds of parsing. */
const PIECE_BYTES = 32 * 1024;
/** While somebody types, so that a key finds the thread free sooner. */
const PIECE_TYPING_BYTES = 8 * 1024;
/** An answer to a key is shorter, a whole line drawn anew among them. */
const ECHO_BYTES = 4 * 1024;
/** So long the others wait for the answer to a key; then they have a frame before they wait again. Longer than most answers
 * take, and too short to be seen. */
const ECHO_WAIT_MS = 50;
/** So long after a key more of them are expected. */
const TYPING_MS = 1000;
/** The rest of a frame is for typing and painting. */
const FRAME_MS = 6;
/** A frame that comes so late had too much in it. */
const LATE_MS = 25;
/** Terminals that are drawn in one frame. */
const WIDTH_MAX = 8;
/** The same beside one that is typed into, and only in every other frame: a key finds the thread free. */
const WIDTH_TYPING_MAX = 1;
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
  private typedAt = Number.NEGATIVE_INFINITY;
  /** Whose answer is waited for, and whether it came and is to be painted. */
  private awaited: { sink: Sink; came: boolean } | undefined;
  /** The others have waited, and have not had a frame since. */
  private isOwed = false;
  /** A frame in which none of the others is drawn. */
  private isResting = false;

  constructor(private readonly clock: Clock) {}

  /** The one that is typed into: what it answers waits for nothing, and of what much prints it has every other frame. */
  favour(sink: Sink): void {
    this.favoured = sink;
  }

  unfavour(sink: Sink): void {
    if (this.favoured === sink) this.favoured = undefined;
  }

  /** A key went out from it. */
  typed(sink: Sink): void {
    this.typedAt = this.clock.now();
    // Keys that come faster than their answers do not make anybody wait longer.
    if (this.isOwed || this.awaited) return;
    const mine = (this.awaited = { sink, came: false });
    // Not every key is answered, and in a page that nobody sees no frame comes.
    this.clock.after(ECHO_WAIT_MS, () => {
      if (this.awaited === mine) this.goOn();
    });
  }

  private hasOthers(): boolean {
    for (const sink of this.waiting.keys()) if (sink !== this.favoured) return true;
    return false;
  }

  private goOn(): void {
    this.awaited = undefined;
    this.isOwed = this.hasOthers();
    this.next();
  }

  put(sink: Sink, bytes: Uint8Array, done: () => void): void {
    const queue = this.waiting.get(sink);
    if (sink === this.awaited?.sink) {
      this.awaited.came = true;
      if (!this.framed) this.frame();
    }
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
    // To one that is gone nothing is owed.
    this.isOwed &&= this.hasOthers();
    for (const piece of queue ?? []) piece.done();
    // One that is gone may never say that it took what it has; the others do not wait for that.
    if (this.taking?.sink !== sink) return;
    this.taking = undefined;
    this.next();
  }

  private next(): void {
    if (this.taking || this.waiting.size === 0) return;
    if (this.awaited && !this.waiting.has(this.awaited.sink)) return;
    if (!this.framed) this.frame();
    const found = this.clock.now() - this.began < FRAME_MS ? this.choose() : undefined;
    if (!found) return;
    const [sink, queue] = found;
    const first = queue[0]!;
    if (sink !== this.favoured) this.isOwed = false;
    const bytes = first.bytes.subarray(0, this.isTyping() ? PIECE_TYPING_BYTES : PIECE_BYTES);
    const isWhole = bytes.length === first.bytes.length;
    if (isWhole) queue.shift();
    else queue[0] = { ...first, bytes: first.bytes.subarray(bytes.length) };
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
    const others = this.drawn.size - (this.favoured && this.drawn.has(this.favoured) ? 1 : 0);
    this.isResting = this.isTyping() && others > 0;
    this.drawn.clear();
    if (!this.isResting) this.isTheirs = !this.isTheirs;
    this.clock.frame((at) => {
      this.framed = false;
      // What the answer changed is in this frame; what is begun now is in the next.
      if (this.awaited?.came) this.goOn();
      const took = at - this.last;
      this.last = at;
      this.width = took > LATE_MS ? Math.max(1, this.width / 2) : Math.min(WIDTH_MAX, this.width + WIDTH_STEP);
      this.next();
    });
  }

  private isTyping(): boolean {
    return this.clock.now() - this.typedAt < TYPING_MS;
  }

  private choose(): [Sink, Piece[]] | undefined {
    if (this.awaited) {
      const answer = this.waiting.get(this.awaited.sink);
      return answer && [this.awaited.sink, answer];
    }
    for (const entry of this.waiting) if (entry[1].length === 1 && entry[1][0]!.bytes.length <= ECHO_BYTES) return entry;
    if (this.isResting) return undefined;
    const mine = this.favoured && this.waiting.get(this.favoured);
    const entries = [...this.waiting];
    const width = Math.floor(this.isTyping() ? Math.min(this.width, WIDTH_TYPING_MAX) : this.width);
    if (mine && !this.isTheirs && !this.isOwed) entries.unshift([this.favoured!, mine]);
    for (const entry of entries) {
      // What is drawn in this frame anyway may take more of it.
      if (!this.drawn.has(entry[0]) && this.drawn.size >= width) continue;
      this.drawn.add(entry[0]);
      return entry;
    }
    return undefined;
  }
}

/** A window that is dragged has a size for every frame of it, and every size is a screen that a program draws anew for all who
 * look. The first is told at once, as of a pane that was opened beside; the last when it has rested so long: a drag is over,
 * and it is too short to be noticed. */
const REST_MS = 100;

export class Rest {
  private newest: object | undefined;

  constructor(
    private readonly clock: Pick<Clock, 'after'>,
    private readonly tell: () => void,
  ) {}

  /** What changed is told again when it rests. */
  get isMoving(): boolean {
    return this.newest !== undefined;
  }

  changed(): void {
    const mine = {};
    if (!this.newest) this.tell();
    this.newest = mine;
    this.clock.after(REST_MS, () => {
      if (this.newest !== mine) return;
      this.newest = undefined;
      // Whoever tells knows what was told: the first may have come before there was anybody to tell.
      this.tell();
    });
  }
}

export const clock: Clock = { frame: (then) => requestAnimationFrame(then), after: (ms, then) => void setTimeout(then, ms), now: () => performance.now() };
export const pace = new Pace(clock);
