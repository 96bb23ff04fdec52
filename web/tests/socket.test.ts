import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Order } from '../src/feed/socket';

/** What the module remembers is of one page. */
const fresh = async () => (vi.resetModules(), (await import('../src/feed/socket')).socket);

class FakeWorker {
  static made: FakeWorker[] = [];
  orders: Order[] = [];
  onerror: (() => void) | null = null;
  isOver = false;
  constructor() {
    FakeWorker.made.push(this);
  }
  postMessage(order: Order) {
    this.orders.push(order);
  }
  terminate() {
    this.isOver = true;
  }
}
class FakeChannel {
  said: unknown[] = [];
  static made: FakeChannel[] = [];
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onmessageerror: (() => void) | null = null;
  isClosed = false;
  constructor(readonly name: string) {
    FakeChannel.made.push(this);
  }
  close() {
    this.isClosed = true;
  }
  postMessage(data: unknown) {
    this.said.push(data);
  }
  says(data: unknown) {
    if (!this.isClosed) this.onmessage?.({ data });
  }
}
class FakeSocket {
  static readonly CONNECTING = 0;
  static readonly OPEN = 1;
  static made: FakeSocket[] = [];
  readyState = FakeSocket.OPEN;
  sent: unknown[] = [];
  isClosed = false;
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: (() => void) | null = null;
  constructor(readonly url: string) {
    FakeSocket.made.push(this);
  }
  send(data: unknown) {
    this.sent.push(data);
  }
  close() {
    this.isClosed = true;
  }
}
function ears() {
  const heard: string[] = [];
  return { heard, text: (text: string) => void heard.push(text), bytes: (bytes: Uint8Array) => void heard.push(`${bytes.length} bytes`), closed: () => void heard.push('closed') };
}

describe('the connection of a page in Chromium', () => {
  beforeEach(() => {
    for (const one of [FakeWorker, FakeChannel, FakeSocket]) one.made = [];
    vi.stubGlobal('Worker', FakeWorker);
    vi.stubGlobal('BroadcastChannel', FakeChannel);
    vi.stubGlobal('WebSocket', FakeSocket);
    vi.stubGlobal('navigator', { userAgent: 'Mozilla/5.0 HeadlessChrome/156.0' });
  });
  afterEach(() => vi.unstubAllGlobals());

  it('is held by one worker, whatever becomes of it', async () => {
    const socket = await fresh();
    const [first, second] = [ears(), ears()];
    const one = socket(first);
    const [channel] = FakeChannel.made;
    channel!.says({ is: 'message', data: 'hello' });
    channel!.says({ is: 'message', data: new ArrayBuffer(3) });
    one.close();
    const other = socket(second);
    channel!.says({ is: 'message', data: 'late' });
    channel!.says({ is: 'closed' });
    other.send('words');
    FakeChannel.made[1]!.says({ is: 'closed' });
    expect([first.heard, second.heard]).toEqual([['hello', '3 bytes'], ['closed']]);
    expect(FakeWorker.made).toHaveLength(1);
    const names = FakeChannel.made.map(({ name }) => name);
    expect(new Set(names).size).toBe(2);
    expect(FakeWorker.made[0]!.orders.map(({ is, channel }) => [is, names.indexOf(channel)])).toEqual([['open', 0], ['close', 0], ['open', 1], ['send', 1]]);
  });

  it('tells how far it is', async () => {
    (await fresh())(ears());
    for (let n = 0; n < 5; n += 1) FakeChannel.made[0]!.says({ is: 'message', data: 'x'.repeat(100_000) });
    expect(FakeWorker.made[0]!.orders.filter(({ is }) => is === 'heard')).toMatchObject([{ bytes: 300_000 }]);
  });

  it('is its own where the worker is broken or forbidden', async () => {
    const socket = await fresh();
    const on = ears();
    socket(on);
    FakeWorker.made[0]!.onerror!();
    expect([on.heard, FakeWorker.made[0]!.isOver, FakeChannel.made[0]!.isClosed]).toEqual([['closed'], true, true]);
    socket(ears());
    expect([FakeWorker.made.length, FakeSocket.made.length]).toEqual([1, 1]);
    vi.stubGlobal('BroadcastChannel', undefined);
    (await fresh())(ears());
    expect(FakeSocket.made).toHaveLength(2);
  });

  it('is its own after one in which the worker said nothing', async () => {
    const socket = await fresh();
    socket(ears()).close();
    socket(ears());
    expect([FakeWorker.made[0]!.isOver, FakeWorker.made.length, FakeSocket.made.length]).toEqual([true, 1, 1]);
  });

  it('is its own in other browsers', async () => {
    vi.stubGlobal('navigator', { userAgent: 'Mozilla/5.0 Gecko/20100101 Firefox/140.0' });
    (await fresh())(ears());
    expect([FakeWorker.made.length, FakeSocket.made.length]).toEqual([0, 1]);
  });
});

describe('the worker that holds it', () => {
  const order = (data: Order) => (self as unknown as { onmessage(event: { data: Order }): void }).onmessage({ data });
  const MIB = 1024 * 1024;
  beforeEach(async () => {
    for (const one of [FakeChannel, FakeSocket]) one.made = [];
    vi.stubGlobal('BroadcastChannel', FakeChannel);
    vi.stubGlobal('WebSocket', FakeSocket);
    vi.resetModules();
    await import('../src/feed/socket.worker');
  });
  afterEach(() => {
    vi.unstubAllGlobals();
    self.onmessage = null;
  });

  it('says what it hears, and sends for the newest connection only', () => {
    order({ is: 'open', channel: 'a', url: 'ws://a' });
    order({ is: 'open', channel: 'b', url: 'ws://b' });
    const [old, now] = FakeSocket.made;
    expect([old!.isClosed, old!.onmessage, FakeChannel.made[0]!.isClosed]).toEqual([true, null, true]);
    for (const channel of ['a', 'b']) order({ is: 'send', channel, data: channel });
    now!.onmessage!({ data: 'hello' });
    expect([now!.sent, FakeChannel.made[1]!.said]).toEqual([['b'], [{ is: 'message', data: 'hello' }]]);
    order({ is: 'close', channel: 'a' });
    expect(now!.isClosed).toBe(false);
    order({ is: 'close', channel: 'b' });
    expect([now!.isClosed, FakeChannel.made[1]!.isClosed]).toEqual([true, true]);
  });

  it('keeps what it is given before there is a connection', () => {
    order({ is: 'open', channel: 'a', url: 'ws://a' });
    const socket = FakeSocket.made[0]!;
    socket.readyState = FakeSocket.CONNECTING;
    for (const data of ['one', 'two']) order({ is: 'send', channel: 'a', data });
    expect(socket.sent).toEqual([]);
    socket.readyState = FakeSocket.OPEN;
    socket.onopen!();
    order({ is: 'send', channel: 'a', data: 'three' });
    expect(socket.sent).toEqual(['one', 'two', 'three']);
  });

  it('reads no further for a page that hears nothing', () => {
    order({ is: 'open', channel: 'a', url: 'ws://a' });
    const [socket] = FakeSocket.made;
    for (let n = 0; n < 3; n += 1) {
      socket!.onmessage!({ data: { byteLength: 40 * MIB } });
      order({ is: 'heard', channel: 'a', bytes: 40 * MIB });
    }
    expect(socket!.isClosed).toBe(false);
    for (let n = 0; n < 2; n += 1) socket!.onmessage!({ data: { byteLength: 40 * MIB } });
    expect(socket!.isClosed).toBe(true);
    socket!.onclose!();
    expect([FakeChannel.made[0]!.said.length, FakeChannel.made[0]!.said.at(-1)]).toEqual([5, { is: 'closed' }]);
  });
});
