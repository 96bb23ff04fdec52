// The carrier of a link: a WebSocket.
//
// Chromium lets nothing that a page waits for come in after a key while a frame is due: no message of a socket, a worker or a timer
// before that frame is drawn. What a terminal answers within two milliseconds would be drawn one frame late. Broadcasts are not held
// back, so a worker holds the socket and broadcasts what it hears, to a name that nobody else is told.

import type { Doors } from './link';

export type Order = { channel: string } & ({ is: 'open'; url: string } | { is: 'send'; data: string | Uint8Array<ArrayBuffer> } | { is: 'close' });
export type Heard = { is: 'open' } | { is: 'closed' } | { is: 'message'; data: string | ArrayBuffer };

type Open = Doors['open'];
type Ears = Parameters<Open>[0];

/** One for all connections of the page: the server of a later version may not have its file any more. */
let worker: Worker | undefined;

export const socket: Open = (on) => ('Worker' in window && 'BroadcastChannel' in window ? apart(on) : plain(on));

const url = () => `${location.protocol === 'https:' ? 'wss:' : 'ws:'}//${location.host}/v1/stream`;
const hear = (on: Ears, data: string | ArrayBuffer) => (typeof data === 'string' ? on.text(data) : on.bytes(new Uint8Array(data)));

const apart: Open = (on) => {
  const mine = (worker ??= new Worker(new URL('./socket.worker.ts', import.meta.url), { type: 'module' }));
  const channel = crypto.getRandomValues(new Uint32Array(4)).join('-');
  const heard = new BroadcastChannel(channel);
  const tell = (order: Order) => mine.postMessage(order);
  heard.onmessage = ({ data }: MessageEvent<Heard>) => {
    switch (data.is) {
      case 'open':
        return on.open();
      case 'message':
        return hear(on, data.data);
      case 'closed':
        heard.close();
        return on.closed();
    }
  };
  // It could not be fetched, or is broken: the next connection has another.
  mine.onerror = () => {
    worker = undefined;
    mine.terminate();
    heard.close();
    on.closed();
  };
  tell({ is: 'open', channel, url: url() });
  return {
    send: (data) => tell({ is: 'send', channel, data: data as string | Uint8Array<ArrayBuffer> }),
    close() {
      heard.close();
      tell({ is: 'close', channel });
    },
  };
};

const plain: Open = (on) => {
  const socket = new WebSocket(url());
  socket.binaryType = 'arraybuffer';
  socket.onopen = () => on.open();
  socket.onclose = () => on.closed();
  socket.onmessage = ({ data }: MessageEvent<string | ArrayBuffer>) => hear(on, data);
  return { send: (data) => socket.readyState === WebSocket.OPEN && socket.send(data as string), close: () => socket.close() };
};
