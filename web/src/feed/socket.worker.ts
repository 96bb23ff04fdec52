// Holds the connection of a page: see `socket.ts`.

import type { Heard, Order } from './socket';

const own = self as unknown as { onmessage: ((event: MessageEvent<Order>) => void) | null };
let held: { channel: string; socket: WebSocket; page: BroadcastChannel } | undefined;

function open(url: string, channel: string): void {
  const socket = new WebSocket(url);
  const page = new BroadcastChannel(channel);
  const say = (heard: Heard) => page.postMessage(heard);
  socket.binaryType = 'arraybuffer';
  socket.onopen = () => say({ is: 'open' });
  socket.onclose = () => say({ is: 'closed' });
  socket.onmessage = ({ data }: MessageEvent<string | ArrayBuffer>) => say({ is: 'message', data });
  held = { channel, socket, page };
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
  if (order.is === 'close') close();
  else if (held.socket.readyState === WebSocket.OPEN) held.socket.send(order.data);
};
