// The transcript of one agent as it comes: entries of the wire into nodes, at most one new list a frame.

import { store } from '../feed/store.svelte';
import type { TranscriptEntry, Usage } from '../proto';
import { Doc, Passing, isPassing, type Node } from './derive';
import { grown, isShort, opened, type Extent } from './extent';

/** What is asked for at once; earlier pages come as the reader goes up. */
const TAIL = 200;
const PAGE = 300;
/** What is drawn more when the reader nears the top, and how much of it in one frame. */
const STEP = 120;
const STEP_GROW = 40;

/** What streams is small and much; a page that nobody sees does not pile it up. */
const WAITING_MAX = 1000;

type EntriesFrame = { run: number; from: number; next: number; reset: boolean; live: boolean; entries: TranscriptEntry[] };

export class Transcript {
  /** What is drawn of the document. */
  nodes = $state.raw<Node[]>([]);
  /** Grows with what is new at the end, and with nothing else. */
  grown = $state(0);
  run = $state(0);
  loaded = $state(false);
  atStart = $state(false);
  usage = $state.raw<Usage | undefined>(undefined);
  model = $state<string | undefined>(undefined);
  mode = $state<string | undefined>(undefined);
  raw = $state.raw<TranscriptEntry[]>([]);
  error = $state('');
  private doc = new Doc();
  private passing = new Passing();
  private entries: TranscriptEntry[] = [];
  private from = 0;
  private drawn: Extent = opened(0);
  /** Nodes that were put before the first. */
  private older = 0;
  /** Still to be drawn before the first. */
  private above = 0;
  private follows = true;
  private waiting: TranscriptEntry[] = [];
  private drawing = 0;
  private busy = false;
  private fresh = true;
  private readonly end: () => void;

  constructor(readonly agent: string) {
    const stream = store.wire.stream({
      open: () => {
        this.fresh = true;
        return { follow: { agent, tail: Math.min(2000, Math.max(TAIL, this.entries.length)) } };
      },
      frame: (frame) => {
        if (frame.entries) this.take(frame.entries as EntriesFrame);
      },
      refused: (failure) => {
        this.error = failure.message;
        this.loaded = true;
      },
    });
    this.end = () => stream.end();
  }

  close(): void {
    cancelAnimationFrame(this.drawing);
    this.end();
  }

  private take(frame: EntriesFrame): void {
    if (frame.live) {
      // It has no place, and is for those alone who have what came before it.
      if (this.fresh || !this.loaded || frame.run !== this.run) return;
      this.waiting.push(...frame.entries);
      this.drawSoon();
      return;
    }
    const continues = this.loaded && frame.run === this.run && (this.fresh ? frame.from <= this.next() : !frame.reset);
    if (continues && this.fresh) this.forgetPassing();
    this.fresh = false;
    this.ended = frame.next;
    if (!continues) {
      this.run = frame.run;
      this.from = frame.from;
      this.atStart = frame.from === 0;
      this.entries = frame.entries.slice();
      this.doc = Doc.of(this.entries);
      this.drawn = opened(this.doc.size);
      this.above = 0;
      this.older = 0;
      this.passing = new Passing();
      this.waiting = [];
      this.loaded = true;
      this.draw();
      return;
    }
    const last = this.entries.at(-1);
    this.waiting.push(...(last ? frame.entries.filter((entry) => entry.n > last.n || (entry.n === last.n && entry.i > last.i)) : frame.entries));
    this.drawSoon();
  }

  /** Some of it was missed while there was no connection; no text is shown with a hole in it. */
  private forgetPassing(): void {
    cancelAnimationFrame(this.drawing);
    this.flush();
    if (this.passing.isEmpty) return;
    this.passing = new Passing();
    this.doc = Doc.of(this.entries);
  }

  private drawSoon(): void {
    if (document.hidden && this.waiting.length > WAITING_MAX) {
      cancelAnimationFrame(this.drawing);
      this.flush();
      return;
    }
    // Hidden pages get no animation frames; they take what came when they are seen again, or when it is much.
    if (!this.drawing) this.drawing = requestAnimationFrame(() => this.flush());
  }

  private ended = 0;
  private next(): number {
    return this.ended || Number.MAX_SAFE_INTEGER;
  }

  private flush(): void {
    this.drawing = 0;
    for (const entry of this.waiting) {
      this.doc.push(entry);
      this.passing.take(entry);
      if (!isPassing(entry.item)) this.entries.push(entry);
    }
    this.waiting = [];
    this.draw();
  }

  /** Whether the reader is at its end, or somewhere above. */
  follow(follows: boolean): void {
    this.follows = follows;
    if (this.more()) this.drawSoon();
  }

  private more(): boolean {
    return isShort(this.drawn, this.doc.size, this.follows);
  }

  private draw(): void {
    const { drawn } = this;
    this.drawn = grown(drawn, this.doc.size, this.follows);
    // What is selected stays. It is asked late: the browser lays the page out to answer.
    if (this.drawn.from > drawn.from && document.getSelection()?.isCollapsed === false) this.drawn = grown(drawn, this.doc.size, false);
    const up = Math.min(this.above, STEP_GROW, this.drawn.from);
    this.above = up < this.drawn.from ? this.above - up : 0;
    this.drawn = { ...this.drawn, from: this.drawn.from - up };
    this.nodes = this.doc.nodes(this.drawn.from, this.drawn.to);
    if (this.above > 0 || (this.more() && this.drawn.to > drawn.to)) this.drawSoon();
    this.grown = this.doc.size - this.older;
    this.usage = this.doc.usage;
    this.model = this.doc.model;
    this.mode = this.doc.mode;
    this.raw = this.entries;
  }

  /** Whether something is before what is drawn. */
  get isCut(): boolean {
    return this.drawn.from > 0 || !this.atStart;
  }

  async earlier(): Promise<void> {
    if (this.drawn.from > 0) {
      this.above = STEP;
      this.draw();
      return;
    }
    if (this.busy || this.atStart || !this.loaded || this.run === 0) return;
    this.busy = true;
    try {
      const asked = this.from;
      const page = await store.wire.get<{ from?: number; entries: TranscriptEntry[] }>('transcript', { agent: this.agent, run: this.run, before: asked, limit: PAGE });
      if (asked !== this.from) return;
      this.entries = [...page.entries, ...this.entries];
      this.from = page.from ?? 0;
      this.atStart = page.entries.length === 0 || this.from === 0;
      const size = this.doc.size;
      this.doc = Doc.of(this.passing.among(this.entries));
      const before = this.doc.size - size;
      this.older += before;
      this.drawn = { from: before, to: this.drawn.to + before };
      this.above = STEP;
      this.draw();
    } catch {
      this.atStart = true;
    } finally {
      this.busy = false;
    }
  }
}
