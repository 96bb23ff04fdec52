export type Data = string | Uint8Array<ArrayBuffer>;

/** What a socket is given before it is open it says then. */
export function patient(socket: WebSocket): (data: Data) => void {
  const waiting: Data[] = [];
  socket.onopen = () => waiting.splice(0).forEach((data) => socket.send(data));
  return (data) => {
    if (socket.readyState === WebSocket.OPEN) socket.send(data);
    else if (socket.readyState === WebSocket.CONNECTING) waiting.push(data);
  };
}
