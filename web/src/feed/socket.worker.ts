// Holds the connection of a page: see `socket.ts`.

import { patient, type Data } from './patient';
import type { Heard, Order } from './socket';

/** A page that is so far behind reads nothing: it comes back to what is there then, and nobody keeps the rest for it. */
const UNHEARD_BYTES_MAX = 64 * 1024 * 1024;

const own = self as unknown as { onmessage: ((event: MessageEvent<Order>) => void) | null };
let held: { channel: string; socket: WebSocket; send(data: Data): void; page: BroadcastChannel; unheard: number } | undefined;

function open(url: string, channel: string): void {
  const socket = new WebSocket(url);
  const page = new BroadcastChannel(channel);
  const say = (heard: Heard) => page.postMessage(heard);
  const mine = (held = { channel, socket, send: patient(socket), page, unheard: 0 });
  socket.binaryType = 'arraybuffer';
  socket.onclose = () => say({ is: 'closed' });
  socket.onmessage = ({ data }: MessageEvent<string | ArrayBuffer>) => {
    mine.unheard += typeof data === 'string' ? data.length : data.byteLength;
    if (mine.unheard > UNHEARD_BYTES_MAX) return socket.close();
    say({ is: 'message', data });
  };
}

function close(): void {
  if (!held) return;
  const { socket, page } = held;
  socket.onopen = socket.onclose = socket.onmessage = null;
  socket.close();
  page.close();
  held = undefined;
}

own.onmessage = ({ data: order }) => {
  if (order.is === 'open') {
    close();
    return open(order.url, order.channel);
  }
  // Of a connection that was followed by another.
  if (order.channel !== held?.channel) return;
  switch (order.is) {
    case 'close':
      return close();
    case 'heard':
      held.unheard -= order.bytes;
      return;
    case 'send':
      held.send(order.data);
  }
};
