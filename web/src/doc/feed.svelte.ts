// The transcript of one agent as it comes: entries of the wire into nodes, at most one new list a frame.

import { store } from '../feed/store.svelte';
import type { TranscriptEntry, Usage } from '../proto';
import { Doc, Passing, isPassing, type Node } from './derive';
import { AHEAD_MAX, FIRST, grown, isShort, lower, opened, upper, type Extent } from './extent';
import { placeOf, type Page } from './search';

/** What is asked for at once; earlier pages come as the reader goes up. */
const TAIL = 200;
const PAGE = 300;
/** Both, where data is saved: what fills a screen. */
const STILL = 100;
/** What is drawn more when the reader nears the top, and how much of it in one frame. */
const STEP = 120;
const STEP_GROW = 40;

/** What streams is small and much; a page that nobody sees does not pile it up. */
const WAITING_MAX = 1000;

type EntriesFrame = { run: number; from: number; next: number; reset: boolean; live: boolean; entries: TranscriptEntry[] };

/** A part of an earlier time, which does not reach what came since; and how much of it is drawn. */
type Past = { doc: Doc; entries: TranscriptEntry[]; from: number; next: number; drawn: Extent };

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
  /** When the newest of it was said, or streamed. */
  lastAt = $state(0);
  error = $state('');
  /** As of when it is, where nobody follows it. */
  asOf = $state(0);
  asks = $state(false);
  /** Whether what is drawn is of an earlier time, and the end goes on unseen. */
  away = $state(false);
  /** Whether something comes after what is drawn that does not come by itself. */
  cut = $state(false);
  private past: Past | null = null;
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
  /** One page at a time; whoever wants another waits for it. */
  private asking: Promise<void> | null = null;
  private fresh = true;
  private version = $state(0);
  private draws = 0;
  private stream: { end(): void } | null = null;
  private isClosed = false;

  constructor(readonly agent: string) {}

  /** Everything as it comes, after what was missed. */
  listen(): void {
    const { agent } = this;
    if (this.isClosed) return;
    this.stream ??= store.wire.stream({
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
  }

  /** Nothing comes by itself; what there is, is asked for. */
  rest(): void {
    this.stream?.end();
    this.stream = null;
    // While the link is down nothing has come since.
    if (this.loaded) this.asOf = store.link.is === 'waiting' ? store.link.since : Date.now();
    else void this.refresh();
  }

  /** What came since, once. Where that is much, the newest of it, and the rest as the reader goes up. */
  async refresh(): Promise<void> {
    if (this.asks) return;
    this.asks = true;
    const at = Date.now();
    try {
      const isSameRun = this.run > 0 && store.rows.agent.get(this.agent)?.run === this.run;
      const since = isSameRun && this.ended > 0 ? { ...(await this.page({ after: this.ended }, STILL)), run: this.run } : null;
      const page = since && since.entries.length < STILL ? since : await store.wire.get<Page & { run: number }>('transcript', { agent: this.agent, limit: STILL });
      // What is followed meanwhile is newer.
      if (this.stream || this.isClosed) return;
      this.fresh = true;
      this.error = '';
      this.take({ run: page.run, from: page.from, next: page.next, reset: true, live: false, entries: page.entries });
      this.asOf = at;
    } catch (error) {
      this.error = error instanceof Error ? error.message : String(error);
      this.loaded = true;
    } finally {
      this.asks = false;
    }
  }

  close(): void {
    this.isClosed = true;
    cancelAnimationFrame(this.drawing);
    this.stream?.end();
  }

  private get much(): number {
    return this.stream ? PAGE : STILL;
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
      this.heard(this.entries);
      this.drawn = opened(this.doc.size);
      this.above = 0;
      this.older = 0;
      this.passing = new Passing();
      this.waiting = [];
      this.loaded = true;
      // Another run, or another history of this one: what was looked at is not in it.
      this.past = null;
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
    this.absorb();
    this.draw();
  }

  private heard(entries: readonly TranscriptEntry[]): void {
    const last = entries.at(-1);
    this.lastAt = last ? Date.parse(last.at) : 0;
  }

  private absorb(): void {
    if (this.waiting.length > 0) this.heard(this.waiting);
    for (const entry of this.waiting) {
      this.doc.push(entry);
      this.passing.take(entry);
      if (!isPassing(entry.item)) this.entries.push(entry);
    }
    this.waiting = [];
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
    this.away = this.past !== null;
    // What comes since changes nothing of an earlier time.
    if (!this.past) this.extend();
    this.cut = this.away || (this.drawn.to < this.doc.size && !this.more());
    this.grown = this.doc.size - this.older;
    this.usage = this.doc.usage;
    this.model = this.doc.model;
    this.mode = this.doc.mode;
    // Not read here: this may be called from an effect, which must not wait for itself.
    this.version = this.draws += 1;
  }

  /** The entries as they came, each time it is drawn. A list of its own, made for those alone who look at it. */
  get raw(): TranscriptEntry[] {
    void this.version;
    return this.entries.slice();
  }

  private look(past: Past): void {
    this.past = past;
    this.nodes = past.doc.nodes(past.drawn.from, past.drawn.to);
    this.draw();
  }

  /** Whether something is before what is drawn. */
  get isCut(): boolean {
    return this.past ? this.past.drawn.from > 0 || this.past.from > 0 : this.drawn.from > 0 || !this.atStart;
  }

  private extend(): void {
    const { drawn } = this;
    this.drawn = grown(drawn, this.doc.size, this.follows);
    // What is selected stays. It is asked late: the browser lays the page out to answer.
    if (this.drawn.from > drawn.from && document.getSelection()?.isCollapsed === false) this.drawn = grown(drawn, this.doc.size, false);
    const up = Math.min(this.above, STEP_GROW, this.drawn.from);
    this.above = up < this.drawn.from ? this.above - up : 0;
    this.drawn = { ...this.drawn, from: this.drawn.from - up };
    this.nodes = this.doc.nodes(this.drawn.from, this.drawn.to);
    if (this.above > 0 || (this.more() && this.drawn.to > drawn.to)) this.drawSoon();
  }

  /** A page of this run as it is on the disk. */
  private page(part: { before: number } | { after: number }, limit: number): Promise<Page> {
    return store.wire.get<Page>('transcript', { agent: this.agent, run: this.run, limit, ...part });
  }

  /** Goes to the first node that is not before a time, and says which it is. */
  async jump(at: number): Promise<string | undefined> {
    if (!this.loaded || this.run === 0) return undefined;
    const first = this.entries[0];
    if (first && (this.atStart || Date.parse(first.at) < at)) {
      this.past = null;
      const all = this.doc.nodes();
      const found = all.findIndex((node) => Date.parse(node.at) >= at);
      const wanted = found < 0 ? all.length - 1 : found;
      this.goTo(Math.max(0, wanted));
      this.draw();
      return all[wanted]?.id;
    }
    const run = this.run;
    const place = Number.isFinite(at) ? await placeOf(at, this.from, (before) => this.page({ before }, 1)) : 0;
    const [above, below] = await Promise.all([place > 0 ? this.page({ before: place }, FIRST) : null, this.page({ after: place }, this.much)]);
    if (run !== this.run) return undefined;
    const entries = [...(above?.entries ?? []), ...below.entries];
    const doc = Doc.of(entries);
    this.lookOrJoin({ entries, doc, from: above?.from ?? place, next: below.next, drawn: { from: 0, to: Math.min(doc.size, AHEAD_MAX) } });
    return this.nodes.find((node) => Date.parse(node.at) >= at)?.id ?? this.nodes[0]?.id;
  }

  /** Draws what is around a node. */
  private goTo(node: number): void {
    this.follows = false;
    this.above = 0;
    const from = Math.max(0, node - FIRST);
    const reaches = node < this.drawn.to && this.drawn.to - from <= AHEAD_MAX;
    if (reaches) this.drawn = { from: Math.min(from, this.drawn.from), to: this.drawn.to };
    else this.drawn = { from, to: Math.min(this.doc.size, from + AHEAD_MAX) };
  }

  /** More of a later time, where what is drawn does not reach the end. */
  async later(): Promise<void> {
    const { past } = this;
    if (past && past.drawn.to === past.doc.size) return this.alone(() => this.laterPage());
    if (past) return this.look({ ...past, drawn: lower(past.drawn, past.doc.size, STEP) });
    if (this.drawn.to === this.doc.size) return;
    this.drawn = lower(this.drawn, this.doc.size, STEP);
    this.draw();
  }

  private async laterPage(): Promise<void> {
    const past = this.past;
    if (!past) return;
    try {
      const page = await this.page({ after: past.next }, this.much);
      // Where it is looked at may have moved meanwhile.
      const now = this.past;
      if (now?.doc !== past.doc) return;
      for (const entry of page.entries) now.doc.push(entry);
      this.lookOrJoin({ ...now, entries: [...now.entries, ...page.entries], next: page.next, drawn: lower(now.drawn, now.doc.size, STEP) });
    } catch {
      // It is asked for again when the reader goes on.
    }
  }

  /** What reaches what came since is one document with it. */
  private lookOrJoin(past: Past): void {
    if (past.next < this.from) return this.look(past);
    // A page just read has what came and is not taken in yet: it is taken in first, and so once.
    this.absorb();
    const last = past.entries.at(-1);
    const fresh = last ? this.entries.filter((entry) => entry.n > last.n || (entry.n === last.n && entry.i > last.i)) : this.entries;
    const size = this.doc.size;
    this.entries = [...past.entries, ...fresh];
    this.from = past.from;
    this.atStart = this.from === 0;
    this.past = null;
    this.doc = Doc.of(this.passing.among(this.entries));
    this.older += this.doc.size - size;
    const to = Math.min(past.drawn.to, this.doc.size);
    this.drawn = { from: Math.min(past.drawn.from, to), to };
    this.above = 0;
    this.follows = false;
    this.draw();
  }

  /** Back to what is said now. */
  present(): void {
    if (!this.past) return;
    this.past = null;
    this.draw();
  }

  async earlier(): Promise<void> {
    const { past } = this;
    if (past && past.drawn.from > 0) return this.look({ ...past, drawn: upper(past.drawn, STEP) });
    if (past) return this.alone(() => this.earlierStill());
    if (this.drawn.from > 0) {
      this.above = STEP;
      this.draw();
      return;
    }
    if (this.atStart || !this.loaded || this.run === 0) return;
    return this.alone(() => this.earlierPage());
  }

  private alone(ask: () => Promise<void>): Promise<void> {
    this.asking ??= ask().finally(() => (this.asking = null));
    return this.asking;
  }

  private async earlierPage(): Promise<void> {
    try {
      const asked = this.from;
      const page = await this.page({ before: asked }, this.much);
      if (asked !== this.from) return;
      this.entries = [...page.entries, ...this.entries];
      this.from = page.from;
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
    }
  }

  private async earlierStill(): Promise<void> {
    const past = this.past;
    if (!past || past.from === 0) return;
    try {
      const page = await this.page({ before: past.from }, this.much);
      const now = this.past;
      if (now?.doc !== past.doc) return;
      const entries = [...page.entries, ...now.entries];
      const doc = Doc.of(entries);
      const before = Math.max(0, doc.size - now.doc.size);
      const drawn = upper({ from: now.drawn.from + before, to: Math.min(doc.size, now.drawn.to + before) }, STEP);
      this.look({ entries, doc, from: page.entries.length === 0 ? 0 : page.from, next: now.next, drawn });
    } catch {
      // It is asked for again when the reader goes on.
    }
  }
}
