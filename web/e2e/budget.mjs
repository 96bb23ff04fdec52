// What must stay fast: `npm run budget -- words of a line`. A line is what was measured, what it may be, and what is beside it in
// the same browser and the same minute. Other work on the machine moves every number here; its load is said with them.
import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { alone, launch } from './browser.mjs';
import { serve } from './serve.mjs';
import { agents, mock, uid } from './team.mjs';
import { until, world } from './world.mjs';

const words = process.argv.slice(2);
const dist = new URL('../dist', import.meta.url).pathname;
const modules = new URL('../node_modules', import.meta.url).pathname;
const rows = [];
/** One number says nothing on a machine that others use. */
const TIMES = 5;
/** Enough that a p95 is ten keys and not one. */
const KEYS = 200;
/** What each of the four prints in a second. */
const STREAM = 1_000_000;
/** Of terminals at most so much is under way to a page. */
const CREDIT = 2 ** 20;
/** A stream comes in its own time, and a person types in his; nothing is waited for. */
const STREAMED_EVERY_MS = 10;
const typedAfterMs = (i) => 20 + ((i * 37) % 60);
const rest = (ms) => new Promise((done) => setTimeout(done, ms));

const sorted = (list) => [...list].sort((a, b) => a - b);
const at = (list, part) => sorted(list)[Math.min(list.length - 1, Math.floor(list.length * part))] ?? Number.NaN;
const median = (list) => at(list, 0.5);
const round = (n) => (n >= 100 ? Math.round(n) : Math.round(n * 10) / 10);
const load = () => loadavg()[0].toFixed(1);

/** A line of the table. `most`: absent where there is nothing to keep. */
function say(what, got, most, unit, more = '', beside = '') {
  const isOver = most !== undefined && !(got <= most);
  rows.push({ what, measured: `${round(got)} ${unit}${more ? `, ${more}` : ''}`, budget: most === undefined ? '–' : `≤ ${most} ${unit}`, beside, isOver });
  console.log(`${isOver ? 'OVER' : 'ok  '}  ${what}: ${round(got)} ${unit}${more ? `, ${more}` : ''}${most === undefined ? '' : ` (at most ${most})`}${beside ? `; ${beside}` : ''} [load ${load()}]`);
}
async function several(times, work) {
  const all = [];
  for (let i = 0; i < times; i += 1) all.push(await work(i));
  return all;
}
const parts = [];
const part = (name, work) => parts.push({ name, work });

/** In every page before its own code: what was painted, how long the thread was held, what the page asked for. */
function watchers() {
  /** Said in a frame: when that frame is over. */
  window.framed = (then) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => then(performance.now());
    port2.postMessage(0);
  };
  window.painted = (then) => requestAnimationFrame(() => window.framed(then));
  /** When the first frame is over in which something is there. */
  window.seen = (look) => new Promise((done) => {
    const again = () => (look() ? window.painted(done) : requestAnimationFrame(again));
    again();
  });
  window.long = [];
  const note = (entries) => window.long.push(...entries.map((entry) => entry.duration));
  const tasks = new PerformanceObserver((list) => note(list.getEntries()));
  tasks.observe({ type: 'longtask' });
  /** When the thread has nothing to do; what held it until then is noted. */
  window.idle = () => new Promise((done) => requestIdleCallback(() => (note(tasks.takeRecords()), done())));
  window.asked = 0;
  window.credited = 0;
  const sent = (data) => {
    if (typeof data !== 'string') return;
    if (data.startsWith('{"credit"')) window.credited += JSON.parse(data).credit.bytes;
    else window.asked += 1;
  };
  const { send } = WebSocket.prototype;
  WebSocket.prototype.send = function (data) {
    sent(data);
    return send.call(this, data);
  };
  const { postMessage } = Worker.prototype;
  Worker.prototype.postMessage = function (order) {
    if (order.is === 'send') sent(order.data);
    return postMessage.call(this, order);
  };
}
/** What the page's thread takes of a processor while `work` goes on, in all and in its longest task. By the clock it would be what
 * others do on the machine, too. */
async function busy(page, work) {
  const cdp = await page.context().newCDPSession(page);
  const events = [];
  cdp.on('Tracing.dataCollected', ({ value }) => events.push(...value));
  await cdp.send('Tracing.start', { traceConfig: { includedCategories: ['toplevel', 'devtools.timeline'] }, transferMode: 'ReportEvents' });
  await work();
  const over = new Promise((done) => cdp.once('Tracing.tracingComplete', done));
  await cdp.send('Tracing.end');
  await over;
  await cdp.detach();
  const spent = new Map();
  for (const { name, pid, tid, tdur = 0 } of events) {
    const thread = `${pid} ${tid}`;
    const known = spent.get(thread) ?? { calls: 0, all: 0, longest: 0 };
    if (name === 'FunctionCall') known.calls += 1;
    if (name === 'ThreadControllerImpl::RunTask') {
      known.all += tdur / 1000;
      known.longest = Math.max(known.longest, tdur / 1000);
    }
    spent.set(thread, known);
  }
  // The one that runs the page's code.
  return [...spent.values()].sort((a, b) => b.calls - a.calls)[0];
}
/** Objects, what the browser holds for them, and the bytes of buffers, in MB: a terminal is mostly of the last. */
async function heap(page) {
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('HeapProfiler.collectGarbage');
  const { usedSize, embedderHeapUsedSize = 0, backingStorageSize = 0 } = await cdp.send('Runtime.getHeapUsage');
  await cdp.detach();
  return (usedSize + embedderHeapUsedSize + backingStorageSize) / 1e6;
}

/** The interface with a made-up server. */
async function made(work) {
  const site = await serve();
  const browser = await launch();
  try {
    await work(async (hash) => {
      const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, serviceWorkers: 'block' });
      const page = await context.newPage();
      await page.addInitScript(watchers);
      const server = mock();
      const sockets = [];
      await alone(page);
      await page.routeWebSocket(/\/v1\/stream/, (ws) => {
        sockets.push(ws);
        server.serve(ws);
      });
      await page.goto(`${site.url}/${hash}`);
      return { page, server, send: (frame) => sockets.at(-1).send(JSON.stringify(frame)), close: () => context.close() };
    });
  } finally {
    await browser.close();
    site.close();
  }
}

part('bundle', async () => {
  const assets = join(dist, 'assets');
  const files = readdirSync(assets).filter((name) => /\.(js|css)$/.test(name) && !/xterm|terminal/i.test(name));
  say('the bundle before terminals, gzip', files.reduce((sum, name) => sum + gzipSync(readFileSync(join(assets, name)), { level: 9 }).length, 0) / 1e3, 300, 'kB');
});

part('paint agents', async () => {
  for (let i = agents.length; i < 50; i += 1) agents.push({ ...agents[4], uid: uid(600 + i), name: `extra${i}` });
  await made(async (open) => {
    const [first, whole] = [[], []];
    await several(TIMES, async () => {
      const { page, close } = await open('#/inbox');
      whole.push(await page.evaluate(() => window.seen(() => document.querySelector('nav, aside, body').textContent.includes('extra49'))));
      first.push(await page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0].startTime));
      await close();
    });
    say('50 agents, from navigation to the last row painted', median(whole), 1000, 'ms', `the first paint ${round(median(first))} ms`);
  });
});

part('updates tokens', async () => {
  await made(async (open) => {
    const [spent, longest] = [[], []];
    await several(3, async () => {
      const { page, server, send, close } = await open(`#/agent/${uid(1)}`);
      await page.locator('[data-node]').first().waitFor();
      const id = server.asked.find((frame) => frame.follow).id;
      const word = 'some words of *text* with `code` and more\n\n';
      let n = 0;
      const { all, longest: one } = await busy(page, async () => {
        for (let i = 0; i < 400; i += 1) {
          const entries = Array.from({ length: 50 }, () => {
            const from = (n++ * 4) % word.length;
            return { n: 1000, i: 0, offset: 9000, at: new Date().toISOString(), item: { type: 'message_delta', id: `stream${Math.floor(i / 40)}`, text: word.slice(from, from + 4) } };
          });
          send({ id, entries: { agent: uid(1), run: 3, from: 9000, next: 9000, reset: false, live: true, entries } });
          await rest(STREAMED_EVERY_MS);
        }
        await page.evaluate(() => window.seen(() => true));
      });
      spent.push(all);
      longest.push(one);
      await close();
    });
    say('20,000 streamed updates of a document, processor time of the thread', median(spent), 2000, 'ms', `the longest task ${round(median(longest))} ms`);
  });
});

part('storm entries', async () => {
  await made(async (open) => {
    const [longest, clock, took] = [[], [], []];
    await several(3, async () => {
      const { page, server, send, close } = await open(`#/agent/${uid(1)}`);
      await page.locator('[data-node]').first().waitFor();
      const id = server.asked.find((frame) => frame.follow).id;
      await page.evaluate(() => window.idle());
      await page.evaluate(() => (window.long = []));
      const text = 'Found it: `total` is **wrong** where the cart is empty.\n\n- one\n- two\n\n```rust\nfn total() -> u32 {\n    0\n}\n```\n';
      const entries = Array.from({ length: 500 }, (_, k) => {
        const item = [
          { type: 'message', id: `s${k}`, text },
          { type: 'tool_started', tool: { id: `st${k}`, name: 'Bash', kind: 'execute', title: `cargo test ${k}`, input: {} } },
          { type: 'tool_done', id: `st${k - 1}`, output: '\u001b[32mok\u001b[0m\n'.repeat(20), is_error: false },
          { type: 'thinking', id: `sk${k}`, text: 'Where it is empty there is nothing to add.' },
        ][k % 4];
        return { n: 5000 + k, i: 0, offset: 9000 + k, at: new Date().toISOString(), item };
      });
      let ms = 0;
      const { longest: one } = await busy(page, async () => {
        const from = performance.now();
        send({ id, entries: { agent: uid(1), run: 3, from: 9000, next: 9999, reset: false, live: false, entries } });
        await page.evaluate(() => window.seen(() => [...document.querySelectorAll('[data-node]')].at(-1)?.dataset.node.startsWith('5499.')));
        ms = performance.now() - from;
        await page.evaluate(() => window.idle());
      });
      took.push(ms);
      clock.push(Math.max(0, ...(await page.evaluate(() => window.long))));
      longest.push(one);
      await close();
    });
    say('500 entries at once, processor time of the longest task', median(longest), 100, 'ms', `by the clock ${median(clock) ? round(median(clock)) : 'less than 50'} ms; the end shown after ${round(median(took))} ms`);
  });
});

part('open entries', async () => {
  // A program that speaks as Claude Code does, and has said much.
  const here = await world({ kinds: (root) => `[kind.talker]\nabout = "has said much"\ndialect = "claude"\nprogram = "${join(root, 'talker')}"\n` });
  try {
    const line = (n) => JSON.stringify({ type: 'assistant', message: { id: `m${n}`, type: 'message', role: 'assistant', model: 'opus', content: [{ type: 'text', text: `Part ${n}: \`total\` is **wrong** where the cart is empty.\n\n- one\n- two` }], usage: { input_tokens: 5, output_tokens: 5 } }, parent_tool_use_id: null, session_id: 's' });
    const file = join(here.root, 'much.jsonl');
    writeFileSync(file, `${Array.from({ length: 20_000 }, (_, n) => line(n)).join('\n')}\n`);
    writeFileSync(join(here.root, 'talker'), `#!/bin/sh\nread hello\nprintf '%s\\n' '{"type":"system","subtype":"init","cwd":"/","session_id":"s","tools":[],"mcp_servers":[],"model":"opus","permissionMode":"default"}'\ncat '${file}'\nexec cat >/dev/null\n`, { mode: 0o755 });
    here.agentmux('new', 'much', '--agent', 'talker');
    const much = here.agentmux('ls', '--all').find((agent) => agent.name === 'much');
    const page = await here.visit({ width: 1440, height: 900, init: watchers, hash: `#/agent/${much.uid}` });
    await page.getByText('Part 19999').waitFor({ timeout: 60_000 });
    const [took, asked] = [[], []];
    await several(TIMES, async () => {
      await page.evaluate(() => (location.hash = '#/inbox'));
      await page.evaluate(() => window.seen(() => !document.querySelector('[data-node]')));
      await page.evaluate(() => window.idle());
      const one = await page.evaluate(async (to) => {
        window.asked = 0;
        const from = performance.now();
        location.hash = to;
        const end = await window.seen(() => [...document.querySelectorAll('[data-node]')].at(-1)?.textContent.includes('Part 19999'));
        return { ms: end - from, asked: window.asked };
      }, `#/agent/${much.uid}`);
      took.push(one.ms);
      asked.push(one.asked);
    });
    say('an agent of 20,000 entries opens', median(took), 300, 'ms');
    say('what that asks of the server', Math.max(...asked), 3, 'requests');
  } finally {
    await here.end();
  }
});

/** Types when the page is ready for it, not in step with its frames; each key is seen before the next. */
async function type(page, field) {
  await page.evaluate((selector) => {
    const target = document.querySelector(selector);
    window.keys = [];
    const isTerminal = target.classList.contains('xterm-helper-textarea');
    const host = target.closest('.xterm');
    let from = 0;
    let awaited;
    // Told, and not asked for again and again: that would be work for the page that types.
    window.keyed = (count) => new Promise((done, failed) => {
      if (window.keys.length > count) return done();
      const late = setTimeout(() => failed(new Error(`key ${count} is not shown`)), 10_000);
      awaited = () => window.keys.length > count && (clearTimeout(late), (awaited = undefined), done());
    });
    const shown = (now) => from && (window.keys.push(now - from), (from = 0), awaited?.());
    target.addEventListener('keydown', (event) => {
      from = event.timeStamp;
      if (!isTerminal) window.painted(shown);
    }, true);
    // Drawn as elements, in a frame; what is drawn on a canvas is not seen from here.
    if (isTerminal) new MutationObserver(() => from && window.framed(shown)).observe(host.querySelector('.xterm-rows'), { childList: true, subtree: true, characterData: true });
  }, field);
  await page.locator(field).focus();
  for (let i = 0; i < KEYS; i += 1) {
    await page.keyboard.press('abcdefgh'[i % 8]);
    await page.evaluate((count) => window.keyed(count), i);
    if (i % 20 === 19 && field.includes('xterm')) {
      // A line that grows for ever is no work anybody does.
      await page.keyboard.press('Enter');
      await page.evaluate((count) => window.keyed(count), i + 1);
      await page.evaluate(() => window.keys.pop());
    }
    await rest(typedAfterMs(i));
  }
  return page.evaluate(() => window.keys);
}
const figures = (list) => `p50 ${round(at(list, 0.5))} ms`;

const TEXT = Array.from({ length: 900 }, (_, n) => `${String(n).padStart(10, '0')} some words of output that go on and on and on\n`).join('');
/** One program that lives: what prints is not to need the processors that the page is measured on. */
function stream(root) {
  const file = join(root, 'words');
  writeFileSync(file, TEXT);
  return [process.execPath, '-e', `const words = require('fs').readFileSync(${JSON.stringify(file)}); setInterval(() => process.stdout.write(words), ${(TEXT.length / STREAM) * 1000})`];
}

part('keys', async () => {
  const here = await world();
  try {
    const bare = await floor(here.browser, TEXT);
    // Written once: a program that begins while the words are written anew reads none, and is silent for ever.
    const argv = stream(here.root);
    for (let i = 0; i < 4; i += 1) here.agentmux('new', `t${i}`, '--agent', 'cmd', '--', ...argv);
    here.agentmux('new', 'fay', '--agent', 'fake');
    here.agentmux('new', 'echo', '--agent', 'cmd', '--', 'cat');
    const uids = Object.fromEntries(here.agentmux('ls', '--all').map((agent) => [agent.name, agent.uid]));
    const page = await here.visit({ width: 1440, height: 900, init: watchers });
    const tab = tile(here, ['fay', 'echo', 't0', 't1', 't2', 't3']);
    await page.evaluate((to) => (location.hash = to), tab);
    await page.locator('.xterm-rows').nth(4).waitFor();
    // All of them print, and are sent what they are shown and not what there is room for.
    await page.waitForFunction((bytes) => window.credited > bytes && [...document.querySelectorAll('[data-terminal]')].filter((host) => host.__text().includes('some words')).length === 4, 2 * CREDIT, { timeout: 60_000 });
    const from = await page.evaluate(() => [performance.now(), window.credited]);
    const composer = await type(page, 'textarea.compose');
    const terminal = await type(page, `[data-terminal="${uids.echo}"] .xterm-helper-textarea`);
    const to = await page.evaluate(() => [performance.now(), window.credited]);
    const took = (to[0] - from[0]) / 1000;
    const rate = (to[1] - from[1]) / took / 4e6;
    say('key to paint in the composer, four terminals streaming, p95', at(composer, 0.95), 50, 'ms', figures(composer), `a textarea and nothing else p50 ${round(at(bare.quiet, 0.5))}, p95 ${round(at(bare.quiet, 0.95))} ms; beside four raw xterm.js ${round(at(bare.field, 0.95))} ms`);
    say('key to paint of its echo in a terminal, the same, p95', at(terminal, 0.95), 50, 'ms', figures(terminal), `raw xterm.js that echoes itself, no server, p50 ${round(at(bare.echo, 0.5))}, p95 ${round(at(bare.echo, 0.95))} ms`);
    say('what each of the four showed meanwhile', rate, undefined, 'MB/s');
    say('heap of that page', await heap(page), undefined, 'MB');
  } finally {
    await here.end();
  }
});

/** One tab with all of them, halved again and again. */
function tile(here, names) {
  const { workspace } = here.agentmux('workspace', 'create', `of ${names.length}`);
  const { tab } = here.agentmux('tab', 'create', workspace);
  const { pane } = here.agentmux('pane', 'open', '--agent', names[0], '--tab', tab);
  const halve = (first, list, side, other) => {
    if (list.length < 2) return;
    const half = Math.ceil(list.length / 2);
    const beside = here.agentmux('pane', 'open', '--agent', list[half], '--beside', first, '--side', side).pane;
    halve(first, list.slice(0, half), other, side);
    halve(beside, list.slice(half), other, side);
  };
  halve(pane, names, 'right', 'down');
  return `#/tab/${tab}`;
}

/** A page with a field, and one with five xterm.js, one of which echoes itself while the others are fed what ours are. */
async function floor(browser, text) {
  const page = '<!doctype html><link rel="stylesheet" href="/css/xterm.css"><style>body{margin:0;display:grid;grid-template-columns:repeat(3,1fr);height:100vh}</style>';
  const server = createServer((request, answer) => {
    if (/^\/(lib|css)\/xterm\.(js|css)$/.test(request.url)) answer.writeHead(200, { 'content-type': request.url.endsWith('js') ? 'text/javascript' : 'text/css' }).end(readFileSync(join(modules, '@xterm/xterm', request.url)));
    else answer.writeHead(200, { 'content-type': 'text/html' }).end(request.url === '/many' ? `${page}<script src="/lib/xterm.js"></script><textarea class="compose"></textarea>` : `${page}<textarea class="compose"></textarea>`);
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  try {
    const open = async (path) => {
      const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
      const page = await context.newPage();
      await page.addInitScript(watchers);
      await page.goto(`http://127.0.0.1:${server.address().port}${path}`);
      return page;
    };
    const bare = await open('/');
    const quiet = await type(bare, 'textarea.compose');
    await bare.context().close();
    const many = await open('/many');
    await many.evaluate((words) => {
      const made = Array.from({ length: 5 }, () => {
        const term = new window.Terminal({ rows: 26, cols: 58, scrollback: 5000, convertEol: true, fontSize: 13, lineHeight: 1.2 });
        term.open(document.body.appendChild(document.createElement('div')));
        return term;
      });
      made[4].onData((data) => made[4].write(data));
      setInterval(() => made.slice(0, 4).forEach((term) => term.write(words)), words.length / 1000);
    }, text);
    const field = await type(many, 'textarea.compose');
    const echo = await type(many, 'body > div:last-child .xterm-helper-textarea');
    await many.context().close();
    return { quiet, field, echo };
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

part('heap terminals', async () => {
  const here = await world();
  try {
    const names = Array.from({ length: 18 }, (_, n) => `h${n}`);
    // More than a terminal keeps, in every one of them before the page looks: what is printed meanwhile may be skipped.
    for (const name of names) here.agentmux('new', name, '--agent', 'cmd', '--', 'sh', '-c', 'seq -f "%010g some words of output that go on and on and on" 6000; echo done; exec cat');
    for (const name of names) await until(() => here.agentmux('look', name).lines.includes('done'), 'it has printed', 60_000);
    const page = await here.visit({ width: 1440, height: 900, init: watchers });
    const before = await heap(page);
    const to = tile(here, names);
    const show = async () => {
      await page.evaluate((hash) => (location.hash = hash), to);
      await page.locator('.xterm-rows, .xterm-screen canvas').nth(17).waitFor();
      const lines = () => page.evaluate(() => [...document.querySelectorAll('[data-terminal]')].map((host) => (host.__text?.() ?? '').split('\n')).map((all) => (all.includes('done') ? all.length : 0)));
      await until(async () => (await lines()).every((count) => count >= 5000), 'all of it in every one', 60_000);
      return Math.min(...(await lines()));
    };
    const lines = await show();
    const full = await heap(page);
    say('heap with 18 terminals, all with full scrollback', full, 150, 'MB', `${lines} lines each, the page without them ${round(before)} MB`);
    const away = async () => {
      await page.evaluate(() => (location.hash = '#/inbox'));
      await page.evaluate(() => window.seen(() => !document.querySelector('.xterm')));
      return heap(page);
    };
    const first = await away();
    for (let i = 0; i < 5; i += 1) {
      await show();
      await page.evaluate(() => (location.hash = '#/inbox'));
      await page.evaluate(() => window.seen(() => !document.querySelector('.xterm')));
    }
    say('what five more visits to that tab leave behind', Math.max(0, (await away()) - first), 5, 'MB', `after the first ${round(first)} MB`);
  } finally {
    await here.end();
  }
});

for (const { name, work } of parts) if (words.length === 0 || words.some((word) => name.includes(word))) await work();
if (process.env.BUDGET_TABLE) {
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
  console.log(`\n${commit}, ${cpus().length} × ${cpus()[0].model}, load ${load()}\n\n| what | measured | budget | beside it |\n|---|---|---|---|`);
  for (const row of rows) console.log(`| ${row.what} | ${row.measured} | ${row.budget} | ${row.beside} |`);
}
process.exit(rows.some((row) => row.isOver) ? 1 : 0);
