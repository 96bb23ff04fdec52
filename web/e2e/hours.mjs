// A long day in a page: many agents, much traffic, views that come and go. From a made-up server, which is fast enough.
import assert from 'node:assert/strict';
import { alone } from './browser.mjs';
import { least, promise } from './world.mjs';
import { serve } from './serve.mjs';
import { agents, mock, messages, uid } from './team.mjs';

/** What a working day of a team of twenty may leave behind. */
const HEAP_MIB_MAX = 120;
const NODES_MAX = 15_000;
const HOURS = 8;
const TEAM = 20;
/** While one of them is looked at, everybody goes on by so many: turns with words, a tool, a difference now and then. */
const STEPS = 3;
/** In an hour. */
const LOOKS = 10;

const team = () => Array.from({ length: TEAM }, (_, i) => ({ ...agents[i % 3], uid: uid(700 + i), name: `w${i}`, team: `t${i % 4}`, kind: 'claude', is_terminal: false, state: 'working', is_live: true, queued: 0 }));

/** A turn of an agent as its transcript has it. */
function turn(n, at) {
  const item = (item, k) => ({ n: n * 20 + k, i: 0, offset: (n * 20 + k) * 100, at, item });
  const text = `Turn ${n}: the totals are exact. ${'A sentence that says what was done and why. '.repeat(4)}\n\n\`\`\`rust\nlet total = ${n};\n\`\`\``;
  return [
    item({ type: 'turn_started', turn: n, trigger: 'input' }, 0),
    item({ type: 'thinking', id: `th${n}`, text: 'What is to be done here. '.repeat(6) }, 1),
    item({ type: 'message', id: `m${n}`, text }, 2),
    item({ type: 'tool_started', tool: { id: `t${n}`, name: 'Bash', kind: 'execute', title: `cargo test -p cart -- ${n}`, input: {} } }, 3),
    item({ type: 'tool_done', id: `t${n}`, output: `test case ${n} ... ok\n`.repeat(30), is_error: false, exit_code: 0 }, 4),
    ...(n % 3 ? [] : [item({ type: 'diff', tool: `t${n}`, path: 'src/cart.rs', change: { type: 'unified', diff: '@@ -1,3 +1,3 @@\n a\n-b\n+c\n d\n' } }, 5)]),
    item({ type: 'usage', usage: { input_tokens: 100 * n, cached_tokens: 90 * n, output_tokens: 20, context_used: 100 * n, context_size: 10_000_000 } }, 6),
    item({ type: 'turn_ended', turn: n, end: { type: 'done' } }, 7),
  ];
}

async function open(here, hash) {
  const site = await serve();
  const context = await here.browser.newContext({ viewport: { width: 1440, height: 900 } });
  const page = await context.newPage();
  const server = mock();
  const sockets = [];
  await alone(page);
  await page.routeWebSocket(/\/v1\/stream/, (ws) => (sockets.push(ws), server.serve(ws)));
  await page.goto(`${site.url}/${hash}`);
  await page.getByRole('link', { name: /lead/ }).first().waitFor();
  return { page, server, site, send: (frame) => sockets.at(-1).send(JSON.stringify(frame)) };
}

promise.alone('after eight hours of twenty agents a page is as light as in the morning', async (here) => {
  const { page, server, site, send } = await open(here, '#/inbox');
  const all = team();
  server.put(all.map((row) => ({ table: 'agent', key: row.uid, row })));
  await page.getByRole('link', { name: /w19/ }).waitFor();
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('Performance.enable');
  const weigh = async () => {
    await cdp.send('HeapProfiler.collectGarbage');
    const { metrics } = await cdp.send('Performance.getMetrics');
    const of = (name) => metrics.find((one) => one.name === name).value;
    return { heap: of('JSHeapUsedSize') / 2 ** 20, nodes: of('Nodes'), listeners: of('JSEventListeners') };
  };
  const drawn = () => page.evaluate(() => new Promise((done) => requestAnimationFrame(() => setTimeout(done))));
  const views = ['#/inbox', '#/messages', '#/messages/graph', `#/tab/${uid(301)}`, '#/events', '#/system', '#/settings', '#/agents', '#/new'];
  const turns = new Map(all.map((row) => [row.uid, 1]));
  let sent = 0;
  let first;
  for (let hour = 0; hour < HOURS; hour += 1) {
    // In each hour some agents and some views are looked at for a while, in a day all of them, while everybody works.
    for (let slot = 0; slot < LOOKS; slot += 1) {
      const at = hour * LOOKS + slot;
      const looked = all[at % TEAM];
      await page.evaluate((to) => (location.hash = to), slot % 2 ? views[(at >> 1) % views.length] : `#/agent/${looked.uid}`);
      await drawn();
      const follow = server.asked.findLast((frame) => frame.follow);
      for (let step = 0; step < STEPS; step += 1) {
        const at = new Date().toISOString();
        const rows = all.map((row, i) => {
          const n = turns.get(row.uid) + (row === looked ? 1 : 0.2);
          turns.set(row.uid, n);
          const state = (step + i) % 5 === 0 ? 'idle' : 'working';
          return { table: 'agent', key: row.uid, row: { ...row, state, reason: `Edit src/cart/${step}.rs`, since: at, turn: Math.floor(n), context_used: 1000 * i, cost_micro_usd: Math.floor(n * 1000), rev: Math.floor(n * 10) } };
        });
        // A window of mail: what is settled and old leaves the board, as the server does it.
        sent += 1;
        const fresh = { ...messages[1], id: uid(100_000 + sent), thread: uid(100_000 + sent), created: at, body: `Done with step ${sent}. ${'And more. '.repeat(10)}` };
        rows.push({ table: 'message', key: fresh.id, row: fresh });
        if (sent > 200) rows.push({ table: 'message', key: uid(100_000 + sent - 200), row: null });
        server.put(rows);
        if (follow && slot % 2 === 0 && follow.follow.agent === looked.uid) {
          const n = 100 + Math.floor(turns.get(looked.uid));
          const entries = turn(n, at);
          const words = Array.from({ length: 20 }, (_, k) => ({ n: n * 20, i: k, offset: n * 2000, at, item: { type: 'message_delta', id: `m${n}`, text: 'word ' } }));
          send({ id: follow.id, entries: { agent: looked.uid, run: 3, from: n * 2000, next: n * 2000, reset: false, live: true, entries: words } });
          send({ id: follow.id, entries: { agent: looked.uid, run: 3, from: n * 2000, next: n * 2000 + 2000, reset: false, live: false, entries } });
        }
        await drawn();
      }
    }
    await page.evaluate(() => (location.hash = '#/inbox'));
    await drawn();
    if (hour === 0) first = await weigh();
  }
  const last = await weigh();
  const said = ({ heap, nodes, listeners }) => `${heap.toFixed(1)} MiB, ${nodes} nodes, ${listeners} listeners`;
  console.log(`      after an hour ${said(first)}; after ${HOURS} ${said(last)}`);
  site.close();
  const left = server.asked.reduce((open, frame) => open + (frame.follow || frame.view || frame.sub ? 1 : frame.unsub ? -1 : 0), 0);
  assert.ok(left <= 2, `${left} streams of views that are not there`);
  assert.ok(last.heap < HEAP_MIB_MAX && last.nodes < NODES_MAX, said(last));
  assert.ok(last.heap < first.heap * 1.3 + 2, `it grew: ${said(first)} to ${said(last)}`);
  assert.ok(last.nodes < first.nodes * 1.2 + 500, `it grew: ${said(first)} to ${said(last)}`);
});

promise.alone('a storm of five hundred changes asks for nothing twice and never holds the page up', async (here) => {
  const { page, server, site } = await open(here, `#/agent/${uid(1)}`);
  await page.locator('[data-node]').first().waitFor();
  await page.evaluate(() => {
    window.long = [];
    new PerformanceObserver((list) => window.long.push(...list.getEntries().map((entry) => entry.duration))).observe({ type: 'longtask' });
  });
  const asked = server.asked.length;
  const long = await least(250, async (tried) => {
    await page.evaluate(() => (window.long = []));
    const [from, to] = [tried * 500, (tried + 1) * 500];
    for (let i = from; i < to; i += 1) server.put([{ table: 'agent', key: uid(1 + (i % 10)), row: { ...agents[i % 10], reason: `step ${i}`, rev: 100 + i } }]);
    await page.getByText(`step ${to - 10}`).first().waitFor();
    return await page.evaluate(() => Math.max(0, ...window.long));
  });
  console.log(`      longest task ${Math.round(long)} ms`);
  const more = server.asked.slice(asked).filter((frame) => frame.get || frame.watch || frame.follow);
  site.close();
  assert.ok(more.length <= 2, JSON.stringify(more));
  assert.ok(long < 250, `${long} ms`);
});
