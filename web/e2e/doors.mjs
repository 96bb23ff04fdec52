// Who is let in: every route, with every credential, from every place. The routes are those of the server's own table.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { promise, until } from './world.mjs';

const table = readFileSync(new URL('../../crates/amux-server/src/http.rs', import.meta.url), 'utf8');
const ROUTES = [...table.split('pub const ROUTES')[1].split('];')[0].matchAll(/\("(\w+)", "([^"]+)", Access::(\w+)\)/g)].map(([, method, path, access]) => ({ method, path, access }));

function ask(port, method, path, headers) {
  return new Promise((done, fail) => {
    const on = request({ host: '127.0.0.1', port, method, path, headers: { connection: 'close', ...headers }, setHost: !headers.host }, (answer) => (answer.resume(), done(answer.statusCode)));
    on.on('error', fail);
    on.on('upgrade', (answer, socket) => (socket.destroy(), done(answer.statusCode)));
    on.end();
  });
}

/** What the documentation promises, for a request from our own page. */
function promised(access, who) {
  if (access === 'Open') return 'in';
  if (who === 'browser') return 'in';
  if (who === 'agent') return access === 'Known' ? 'in' : 403;
  return 401;
}

promise('every route asks for its credential, whatever the request comes with, and no page of another site gets through', async (here) => {
  assert.ok(ROUTES.length > 15, 'the table of the routes was read');
  const port = new URL(here.status.web_url).port;
  const signIn = async () => {
    const answer = await fetch(`${here.status.web_url}/v1/login`, { method: 'POST', body: JSON.stringify({ code: await here.code() }) });
    const cookie = answer.headers.get('set-cookie');
    assert.match(cookie, /HttpOnly; SameSite=Strict/);
    return cookie.split(';')[0];
  };
  const old = await signIn();
  // A session whose week is over, as it is on the disk.
  here.agentmux('server', 'stop');
  const file = join(here.root, 'state', 'credentials.json');
  const issued = JSON.parse(readFileSync(file, 'utf8'));
  for (const browser of Object.values(issued.browsers)) browser.until = Date.now() - 1000;
  writeFileSync(file, JSON.stringify(issued));
  here.agentmux('server', 'start');
  const token = join(here.root, 'token');
  here.agentmux('new', 'worker', '--agent', 'cmd', '--', 'sh', '-c', `printf %s "$AGENTMUX_TOKEN" > ${token}.new && mv ${token}.new ${token}; exec sleep 1000`);
  const secret = await until(() => { try { return readFileSync(token, 'utf8'); } catch { return ''; } }, 'the token of the agent');
  const browser = await signIn();
  const name = browser.split('=')[0];
  const who = {
    nobody: {},
    forged: { cookie: `${name}=${'A'.repeat(43)}` },
    expired: { cookie: old },
    stranger: { authorization: `Bearer ${'0'.repeat(64)}` },
    nonsense: { authorization: 'Basic eA==' },
    // A bad token is not made good by a cookie.
    both: { authorization: `Bearer ${'0'.repeat(64)}`, cookie: browser },
    agent: { authorization: `Bearer ${secret}` },
    browser: { cookie: browser },
  };
  const from = {
    'our page': [{ origin: `http://127.0.0.1:${port}` }, true],
    'our other name': [{ host: `localhost:${port}`, origin: `http://localhost:${port}` }, true],
    'no page': [{}, true],
    'another site': [{ origin: 'https://evil.example' }, false],
    'another port': [{ origin: `http://127.0.0.1:${Number(port) === 65535 ? 1024 : Number(port) + 1}` }, false],
    'an opaque page': [{ origin: 'null' }, false],
    'a rebound name': [{ host: `evil.example:${port}` }, false],
    'a rebound name and its own page': [{ host: `evil.example:${port}`, origin: `http://evil.example:${port}` }, false],
  };
  const wrong = [];
  let asked = 0;
  for (const { method, path, access } of ROUTES) {
    const url = path.replace('{name}', path.startsWith('/v1/cmd') ? 'team.create' : 'x').replace('{id}', '000000000000').replace('{file}', 'icon.svg').replace('{digest}', '0'.repeat(64));
    // Who logs out is out; that is the last of them.
    const all = path === '/v1/logout' ? Object.entries(who).filter(([one]) => one !== 'browser') : Object.entries(who);
    for (const [one, credential] of all) {
      for (const [place, [headers, ours]] of Object.entries(from)) {
        const upgrade = path === '/v1/stream' ? { upgrade: 'websocket', connection: 'Upgrade', 'sec-websocket-version': '13', 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==' } : {};
        const status = await ask(port, method, url, { ...headers, ...credential, ...upgrade });
        asked += 1;
        const want = ours ? promised(access, one) : 403;
        // An agent that is let in may still be told that this is not for it; the policy says so, and not the door.
        const isIn = path === '/v1/login' ? status === 401 : one === 'agent' ? status !== 401 : ![401, 403].includes(status);
        if (want === 'in' ? !isIn : status !== want) wrong.push(`${method} ${path} as ${one} from ${place}: ${status}, not ${want}`);
      }
    }
  }
  assert.deepEqual(wrong, []);
  console.log(`      ${asked} requests`);
  assert.equal(await ask(port, 'POST', '/v1/logout', { cookie: browser, origin: `http://127.0.0.1:${port}` }), 200);
  assert.equal(await ask(port, 'GET', '/v1/snapshot', { cookie: browser }), 401, 'signed out is signed out');
});

promise('a browser that is signed out elsewhere is at the sign-in at once, and shows nothing more', async (here) => {
  here.agentmux('new', 'fay', '--agent', 'fake', '--no-start-agent');
  const page = await here.visit();
  await page.getByRole('link', { name: /fay/ }).waitFor();
  here.agentmux('sessions', 'revoke', '--all');
  await page.getByRole('heading', { name: 'Sign in to agentmux' }).waitFor();
  assert.equal(await page.getByRole('link', { name: /fay/ }).count(), 0);
});
