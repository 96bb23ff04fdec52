// One connection to the server, kept for ever. It knows frames and nothing of what they mean: requests that get one answer,
// streams that are opened again after every reconnect, and binary frames by the view they belong to.
// A command keeps its id over reconnects, so a retry is the same command.

import type { EventLine } from '../proto';
import { socket } from './socket';

export type LinkState =
  | { is: 'connecting' }
  | { is: 'open'; principal: string; version: string }
  | { is: 'waiting'; attempt: number; since: number; until: number }
  | { is: 'signed_out' };

export type Failure = { code: string; message: string; hint?: string | null };

export class Refused extends Error {
  constructor(readonly failure: Failure) {
    super(failure.message);
  }
}

export interface Wire {
  send(data: string | Uint8Array): void;
  close(): void;
}

export type Doors = {
  /** Opens a carrier, which keeps what it is given until it is open, and reports what comes. */
  open(on: { text(text: string): void; bytes(bytes: Uint8Array): void; closed(): void }): Wire;
  /** Whether the server knows us; `unreachable` when it does not answer. */
  signedIn(): Promise<'yes' | 'no' | 'unreachable'>;
  after(ms: number, then: () => void): () => void;
  now(): number;
};

type Frame = Record<string, unknown> & { id?: number };
type Waiting = { frame: Frame; settle(answer: unknown): void; refuse(error: Error): void };

export type Stream = {
  /** The frame that opens it, made anew for every connection: it may resume. */
  open(): Frame;
  frame(frame: Frame): void;
  bytes?(kind: number, offset: number, bytes: Uint8Array): void;
  refused?(failure: Failure): void;
};

/** Capped, so that a laptop that wakes up is back at once. */
const BACKOFF_MS = [150, 300, 600, 1200, 2500, 5000];

/** A connection that says nothing to a question for so long is dead, whatever its socket believes. */
const SILENCE_MAX_MS = 20_000;

/** After so much silence it is asked one: what is shown would go on to look like now. */
const QUIET_MAX_MS = 30_000;

export class Link {
  state: LinkState = { is: 'connecting' };
  private wire: Wire | null = null;
  private ready = false;
  private next = 1;
  private attempt = 0;
  private lost = 0;
  private readonly waiting = new Map<number, Waiting>();
  private readonly streams = new Map<number, Stream>();
  private readonly listeners = new Set<(event: EventLine) => void>();
  private cancel: (() => void) | null = null;
  private heard = 0;
  private generation = 0;

  constructor(
    private readonly doors: Doors,
    private readonly changed: (state: LinkState) => void,
    private readonly version = '0',
  ) {}

  start(): void {
    this.cancel?.();
    this.cancel = null;
    this.drop();
    const generation = this.generation;
    const mine = () => generation === this.generation;
    if (this.state.is === 'signed_out') this.say({ is: 'connecting' });
    this.wire = this.doors.open({
      text: (text) => mine() && this.text(text),
      bytes: (bytes) => mine() && this.binary(bytes),
      closed: () => mine() && this.closed(),
    });
    // Not when it is open: a server waits for it, and a page may stand still just then.
    this.wire.send(JSON.stringify({ hello: { protocol: 1, client: 'web', version: this.version } }));
    // Neither refused nor greeted, as behind a network that swallows what it is sent: it would stay so.
    this.doors.after(SILENCE_MAX_MS, () => mine() && !this.ready && this.closed());
  }

  /** Somebody came back to the screen, or the network did. */
  nudge(): void {
    if (this.state.is === 'waiting') this.start();
    else if (this.state.is === 'open') this.probe();
  }

  ask<T>(frame: Frame): Promise<T> {
    return new Promise<T>((settle, refuse) => {
      const id = this.next++;
      const waiting = { frame: { ...frame, id }, settle: settle as (answer: unknown) => void, refuse };
      this.waiting.set(id, waiting);
      if (this.ready) this.put(waiting.frame);
    });
  }

  get<T>(question: string, args: object = {}): Promise<T> {
    return this.ask<T>({ get: question, args });
  }

  cmd<T>(name: string, args: object, expect?: number): Promise<T> {
    const frame: Frame = { cmd: name, args, cmd_id: uuid() };
    if (expect !== undefined) frame.expect = expect;
    return this.ask<T>(frame);
  }

  stream(stream: Stream): { id: number; again(): void; end(): void } {
    let id = this.next++;
    this.streams.set(id, stream);
    if (this.ready) this.put({ ...stream.open(), id });
    const link = this;
    return {
      get id() {
        return id;
      },
      again() {
        const old = id;
        if (!link.streams.delete(old)) return;
        id = link.next++;
        link.streams.set(id, stream);
        if (link.ready) {
          link.put({ id: link.next++, unsub: old });
          link.put({ ...stream.open(), id });
        }
      },
      end() {
        if (link.streams.delete(id) && link.ready) link.put({ id: link.next++, unsub: id });
      },
    };
  }

  /** Events of every subscription; they carry its id in a place of their own. */
  events(listener: (event: EventLine) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Not answered: keys, sizes, credit. Said only on a live connection. */
  tell(frame: Frame): void {
    if (this.ready) this.put(frame);
  }

  typed(view: number, bytes: Uint8Array): void {
    if (!this.ready) return;
    const frame = new Uint8Array(5 + bytes.length);
    frame[0] = 3;
    new DataView(frame.buffer).setUint32(1, view);
    frame.set(bytes, 5);
    this.wire?.send(frame);
  }

  private put(frame: Frame): void {
    this.wire?.send(JSON.stringify(frame));
  }

  private say(state: LinkState): void {
    this.state = state;
    this.changed(state);
  }

  private text(text: string): void {
    this.heard = this.doors.now();
    let frame: Frame;
    try {
      frame = JSON.parse(text) as Frame;
    } catch {
      return;
    }
    if (frame.welcome) {
      const welcome = frame.welcome as { principal: string; version: string };
      this.ready = true;
      this.attempt = 0;
      this.lost = 0;
      for (const [id, stream] of this.streams) this.put({ ...stream.open(), id });
      for (const waiting of this.waiting.values()) this.put(waiting.frame);
      this.say({ is: 'open', principal: welcome.principal, version: welcome.version });
      this.listen();
      return;
    }
    // The server says it leaves; the end of the connection follows.
    if (frame.closing) return;
    if (frame.event) {
      for (const listener of this.listeners) listener(frame.event as EventLine);
      return;
    }
    if (frame.id === undefined) {
      // Not greeted but refused, as one who said hello too late. A carrier that is closed from here does not tell.
      if (frame.error && !this.ready) this.closed();
      return;
    }
    const waiting = this.waiting.get(frame.id);
    if (waiting) {
      const error = frame.error as Failure | undefined;
      // A server on its way out takes nothing; the same command is asked of the next one.
      if (error?.code === 'unavailable' && /ending/.test(error.message)) return;
      this.waiting.delete(frame.id);
      if (error) waiting.refuse(new Refused(error));
      else waiting.settle(frame.ok);
      return;
    }
    const stream = this.streams.get(frame.id);
    if (!stream) return;
    if (frame.error) stream.refused?.(frame.error as Failure);
    else stream.frame(frame);
  }

  private binary(bytes: Uint8Array): void {
    this.heard = this.doors.now();
    if (bytes.length < 13) return;
    const head = new DataView(bytes.buffer, bytes.byteOffset, 13);
    const offset = head.getUint32(5) * 2 ** 32 + head.getUint32(9);
    this.streams.get(head.getUint32(1))?.bytes?.(head.getUint8(0), offset, bytes.subarray(13));
  }

  private drop(): void {
    this.generation += 1;
    this.ready = false;
    const wire = this.wire;
    this.wire = null;
    wire?.close();
  }

  private listen(): void {
    const generation = this.generation;
    const quiet = this.doors.now() - this.heard;
    this.doors.after(quiet < QUIET_MAX_MS ? QUIET_MAX_MS - quiet : QUIET_MAX_MS, () => {
      if (generation !== this.generation) return;
      if (this.doors.now() - this.heard >= QUIET_MAX_MS) this.probe();
      this.listen();
    });
  }

  private probe(): void {
    const generation = this.generation;
    const asked = this.doors.now();
    void this.get('status').catch(() => undefined);
    this.doors.after(SILENCE_MAX_MS, () => {
      if (generation === this.generation && this.heard < asked) this.closed(this.heard);
    });
  }

  /** `known`: so long what it said was so. */
  private closed(known = this.doors.now()): void {
    this.drop();
    const now = this.doors.now();
    if (!this.lost) this.lost = known;
    const generation = this.generation;
    const wait = BACKOFF_MS[Math.min(this.attempt, BACKOFF_MS.length - 1)]!;
    this.attempt += 1;
    this.say({ is: 'waiting', attempt: this.attempt, since: this.lost, until: now + wait });
    this.cancel = this.doors.after(wait, () => {
      void this.doors.signedIn().then((known) => {
        if (generation !== this.generation) return;
        if (known === 'no') this.say({ is: 'signed_out' });
        else if (known === 'unreachable') this.closed();
        else this.start();
      });
    });
  }
}

/** Those made later are greater, as the server's own: a table of them grows at its end. */
export function uuid(now = Date.now()): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  for (let at = 5, left = now; at >= 0; at--, left = Math.floor(left / 256)) bytes[at] = left % 256;
  bytes[6] = (bytes[6]! & 0x0f) | 0x70;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

export function browserDoors(): Doors {
  return {
    open: socket,
    async signedIn() {
      try {
        const answer = await fetch('/v1/sessions', { cache: 'no-store', signal: AbortSignal.timeout(SILENCE_MAX_MS) });
        return answer.status === 401 || answer.status === 403 ? 'no' : 'yes';
      } catch {
        return 'unreachable';
      }
    },
    after(ms, then) {
      const timer = setTimeout(then, ms);
      return () => clearTimeout(timer);
    },
    now: () => Date.now(),
  };
}
