// Serves dist as the server does, with its policy; with `to`, everything under /v1 goes to a real server.
import { readFile } from 'node:fs/promises';
import { createServer, request } from 'node:http';
import { connect } from 'node:net';
import { extname, join } from 'node:path';

const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.woff2': 'font/woff2', '.webmanifest': 'application/manifest+json' };
const dist = new URL('../dist', import.meta.url).pathname;

export async function serve({ to } = {}) {
  const target = to ? new URL(to) : null;
  const sockets = new Set();
  const server = createServer(async (incoming, outgoing) => {
    const url = new URL(incoming.url, 'http://x');
    if (target && url.pathname.startsWith('/v1')) {
      const headers = { ...incoming.headers, host: target.host };
      if (headers.origin) headers.origin = target.origin;
      const on = request({ host: target.hostname, port: target.port, path: incoming.url, method: incoming.method, headers }, (answer) => {
        outgoing.writeHead(answer.statusCode, answer.headers);
        answer.pipe(outgoing);
      });
      on.on('error', () => outgoing.destroy());
      incoming.pipe(on);
      return;
    }
    if (url.pathname.startsWith('/v1')) return void outgoing.writeHead(url.pathname === '/v1/sessions' ? 200 : 404).end('{}');
    try {
      const path = url.pathname === '/' ? '/index.html' : url.pathname;
      const body = await readFile(join(dist, path));
      const host = incoming.headers.host;
      outgoing.writeHead(200, {
        'content-type': TYPES[extname(path)] ?? 'application/octet-stream',
        'content-security-policy': `default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self' ws://${host} wss://${host}; manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
      });
      outgoing.end(body);
    } catch {
      outgoing.writeHead(404).end();
    }
  });
  server.on('upgrade', (incoming, socket, head) => {
    if (!target) return socket.destroy();
    const on = connect(Number(target.port), target.hostname, () => {
      const headers = { ...incoming.headers, host: target.host, origin: target.origin };
      // As a browser's own connection: a key does not wait until what went before it is acknowledged.
      for (const one of [on, socket]) one.setNoDelay(true);
      on.write(`GET ${incoming.url} HTTP/1.1\r\n${Object.entries(headers).map(([name, value]) => `${name}: ${value}`).join('\r\n')}\r\n\r\n`);
      on.write(head);
      on.pipe(socket);
      socket.pipe(on);
    });
    for (const one of [on, socket]) {
      sockets.add(one);
      one.on('error', () => (on.destroy(), socket.destroy()));
      one.on('close', () => (sockets.delete(one), on.destroy(), socket.destroy()));
    }
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return { url: `http://127.0.0.1:${server.address().port}`, drop: () => sockets.forEach((one) => one.destroy()), close: () => (sockets.forEach((one) => one.destroy()), server.close()) };
}
