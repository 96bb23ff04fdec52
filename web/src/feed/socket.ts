// The carrier of a link: a WebSocket.
//
// Chromium lets nothing that a page waits for come in after a key while a frame is due: no message of a socket, a worker or a timer
// before that frame is drawn. What a terminal answers within two milliseconds would be drawn one frame late. Broadcasts are not held
// back, so there a worker holds the socket and broadcasts what it hears, to a name that nobody else is told.

import type { Doors } from './link';
import { patient, type Data } from './patient';

export type Order = { channel: string } & ({ is: 'open'; url: string } | { is: 'send'; data: Data } | { is: 'heard'; bytes: number } | { is: 'close' });
export type Heard = { is: 'closed' } | { is: 'message'; data: string | ArrayBuffer };

type Open = Doors['open'];
type Ears = Parameters<Open>[0];

/** After so much the worker is told how far the page is. */
const HEARD_BYTES = 256 * 1024;

/** One for all connections of the page: the server of a later version may not have its file any more. `null`: there is none to be had. */
let worker: Worker | null | undefined;

export const socket: Open = (on) => {
  if (worker !== null && /Chrom(e|ium)\//.test(navigator.userAgent)) {
    try {
      return apart((worker ??= new Worker(new URL('./socket.worker.ts', import.meta.url))), new BroadcastChannel(name()), on);
    } catch {
      // A browser that forbids one of them.
      worker = null;
    }
  }
  return plain(on);
};

/** `crypto.randomUUID` exists only on secure origins. */
const name = () => crypto.getRandomValues(new Uint32Array(4)).join('-');
const url = () => `${location.protocol === 'https:' ? 'wss:' : 'ws:'}//${location.host}/v1/stream`;
const hear = (on: Ears, data: string | ArrayBuffer) => (typeof data === 'string' ? on.text(data) : on.bytes(new Uint8Array(data)));

function apart(to: Worker, from: BroadcastChannel, on: Ears): ReturnType<Open> {
  const channel = from.name;
  const tell = (order: Order) => to.postMessage(order);
  let heard = 0;
  let isAnswered = false;
  const leave = () => {
    worker = null;
    to.terminate();
  };
  const closed = () => {
    from.close();
    on.closed();
  };
  from.onmessage = ({ data }: MessageEvent<Heard>) => {
    isAnswered = true;
    switch (data.is) {
      case 'closed':
        return closed();
      case 'message':
        heard += typeof data.data === 'string' ? data.data.length : data.data.byteLength;
        if (heard >= HEARD_BYTES) {
          tell({ is: 'heard', channel, bytes: heard });
          heard = 0;
        }
        return hear(on, data.data);
    }
  };
  from.onmessageerror = closed;
  // It could not be fetched, or is broken; the next connection does without.
  to.onerror = () => {
    leave();
    closed();
  };
  tell({ is: 'open', channel, url: url() });
  return {
    send: (data) => tell({ is: 'send', channel, data: data as Data }),
    close() {
      from.close();
      tell({ is: 'close', channel });
      // It may never have run; the next connection does without.
      if (!isAnswered) leave();
    },
  };
}

function plain(on: Ears): ReturnType<Open> {
  const socket = new WebSocket(url());
  socket.binaryType = 'arraybuffer';
  socket.onclose = () => on.closed();
  socket.onmessage = ({ data }: MessageEvent<string | ArrayBuffer>) => hear(on, data);
  const send = patient(socket);
  return { send: (data) => send(data as Data), close: () => socket.close() };
}
