// Terminals share the page's one thread with the person who types. What they print is handed on in pieces, one terminal after
// the other, for a part of each frame; an echo goes first. What waits is not acknowledged, so the server slows down instead.

type Piece = { bytes: Uint8Array; done(): void };
export type Sink = (bytes: Uint8Array, done: () => void) => void;
export type Clock = { frame(then: () => void): void; now(): number };

/** Of one piece: some milliseconds of parsing. */
const PIECE_BYTES = 32 * 1024;
/** An answer to a key is shorter. */
const ECHO_BYTES = 512;
/** The rest of a frame is for typing and painting. */
const FRAME_MS = 6;

export class Pace {
  private readonly waiting = new Map<Sink, Piece[]>();
  private busy = false;
  private began = 0;

  constructor(private readonly clock: Clock) {}

  put(sink: Sink, bytes: Uint8Array, done: () => void): void {
    const queue = this.waiting.get(sink);
    if (queue) queue.push({ bytes, done });
    else this.waiting.set(sink, [{ bytes, done }]);
    if (this.busy) return;
    this.began = this.clock.now();
    this.next();
  }

  /** What waits for a sink is not wanted any more; it counts as taken. */
  drop(sink: Sink): void {
    const queue = this.waiting.get(sink);
    this.waiting.delete(sink);
    for (const piece of queue ?? []) piece.done();
  }

  private next(): void {
    const found = this.choose();
    if (!found) {
      this.busy = false;
      return;
    }
    this.busy = true;
    const [sink, queue] = found;
    const first = queue[0]!;
    const bytes = first.bytes.subarray(0, PIECE_BYTES);
    const isWhole = bytes.length === first.bytes.length;
    if (isWhole) queue.shift();
    else queue[0] = { ...first, bytes: first.bytes.subarray(PIECE_BYTES) };
    // To the end of the round.
    this.waiting.delete(sink);
    if (queue.length > 0) this.waiting.set(sink, queue);
    sink(bytes, () => {
      if (isWhole) first.done();
      if (this.clock.now() - this.began < FRAME_MS) this.next();
      else this.clock.frame(() => {
        this.began = this.clock.now();
        this.next();
      });
    });
  }

  private choose(): [Sink, Piece[]] | undefined {
    for (const entry of this.waiting) if (entry[1].length === 1 && entry[1][0]!.bytes.length <= ECHO_BYTES) return entry;
    return this.waiting.entries().next().value;
  }
}

export const pace = new Pace({ frame: (then) => requestAnimationFrame(then), now: () => performance.now() });
