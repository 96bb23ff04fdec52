// What must stay fast, measured in a page with a made-up server: `node e2e/budget.mjs`. Numbers are of this machine.
import { launch } from './browser.mjs';
import { serve } from './serve.mjs';
import { agents, mock, uid } from './team.mjs';
import { world } from './world.mjs';

const site = await serve();
const browser = await launch();
let failed = 0;
const say = (name, got, most, unit) => {
  const ok = got <= most;
  failed += ok ? 0 : 1;
  console.log(`${ok ? 'ok  ' : 'OVER'}  ${name}: ${Math.round(got * 10) / 10} ${unit} (at most ${most})`);
};
async function open(hash, change = () => undefined) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, serviceWorkers: 'block' });
  const page = await context.newPage();
  const server = mock();
  const sockets = [];
  await page.routeWebSocket(/\/v1\/stream/, (ws) => {
    sockets.push(ws);
    server.serve(ws);
  });
  change(page);
  const from = performance.now();
  await page.goto(`${site.url}/${hash}`);
  return { page, server, from, send: (frame) => sockets.at(-1).send(frame) };
}
const busy = async (page) => {
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('Performance.enable');
  return async () => (await cdp.send('Performance.getMetrics')).metrics.find((one) => one.name === 'TaskDuration').value * 1000;
};

// Fifty agents.
for (let i = 0; i < 40; i += 1) agents.push({ ...agents[4], uid: uid(600 + i), name: `extra${i}` });
{
  const { page, from } = await open('#/inbox');
  await page.getByRole('link', { name: /extra39/ }).waitFor();
  say('fifty agents, first paint', performance.now() - from, 1500, 'ms');
  await page.context().close();
}
// Tokens.
{
  const { page, server, send } = await open(`#/agent/${uid(1)}`);
  await page.locator('[data-node]').first().waitFor();
  const id = server.asked.find((frame) => frame.follow).id;
  const used = await busy(page);
  const before = await used();
  const word = 'some words of *text* with `code` and more\n\n';
  let n = 0;
  for (let i = 0; i < 400; i += 1) {
    const entries = Array.from({ length: 50 }, (_, k) => ({ n: 1000, i: 0, offset: 9000, at: new Date().toISOString(), item: { type: 'message_delta', id: `stream${Math.floor(i / 40)}`, text: word.slice(((n++ * 4) % word.length), ((n * 4) % word.length) || undefined) || ' ' } }));
    send(JSON.stringify({ id, entries: { agent: uid(1), run: 3, from: 9000, next: 9000, reset: false, entries } }));
    await new Promise((done) => setTimeout(done, 10));
  }
  await page.waitForTimeout(300);
  say('20,000 tokens into the document, main thread', (await used()) - before, 6000, 'ms');
  await page.context().close();
}
await browser.close();
site.close();

// Keys while four terminals stream, from a real server: a made-up one would share the page's thread.
{
  const here = await world();
  try {
    const script = 'while :; do seq -f "%010g some words of output that go on and on and on" 900; sleep 0.05; done';
    for (let i = 0; i < 4; i += 1) here.agentmux('new', `t${i}`, '--agent', 'cmd', '--', 'sh', '-c', script);
    here.agentmux('new', 'fay', '--agent', 'fake');
    const uids = Object.fromEntries(here.agentmux('ls', '--all').map((agent) => [agent.name, agent.uid]));
    const page = await here.visit({ width: 1440, height: 900, hash: `#/agent/${uids.fay}` });
    for (const name of ['fay', 't0', 't1', 't2', 't3']) {
      await page.evaluate((to) => (location.hash = to), `#/agent/${uids[name]}`);
      await page.getByRole('button', { name: `More for ${name}` }).last().click();
      await page.getByRole('menuitem', { name: 'Open in a split' }).click();
      await page.waitForURL(/#\/tab\//);
    }
    await page.locator('.xterm-screen').nth(3).waitFor();
    const field = page.locator('textarea.compose');
    await field.focus();
    await page.evaluate(() => {
      window.paints = [];
      document.querySelector('textarea.compose').addEventListener('keydown', (event) => {
        const from = event.timeStamp;
        requestAnimationFrame(() => setTimeout(() => window.paints.push(performance.now() - from)));
      });
    });
    const renderer = await page.evaluate(() => (document.querySelector('.xterm-screen canvas') ? 'canvas' : 'elements'));
    for (let i = 0; i < 80; i += 1) {
      await page.keyboard.type('a');
      await page.waitForTimeout(40);
    }
    const paints = (await page.evaluate(() => window.paints)).sort((a, b) => a - b);
    console.log(`      drawn as ${renderer}; keys p50 ${paints[Math.floor(paints.length / 2)]?.toFixed(1)} ms`);
    say('key to paint, p95, while four terminals stream', paints[Math.floor(paints.length * 0.95)] ?? 9999, 50, 'ms');
    const cdp = await page.context().newCDPSession(page);
    await cdp.send('HeapProfiler.collectGarbage');
    say('heap with four terminals of full scrollback', (await page.evaluate(() => performance.memory.usedJSHeapSize)) / 2 ** 20, 150, 'MiB');
  } finally {
    await here.end();
  }
}
process.exit(failed ? 1 : 0);
