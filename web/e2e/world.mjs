// A real server in a folder of its own, agents made with the command line, and browsers that are signed in.
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { launch } from './browser.mjs';
import { serve } from './serve.mjs';

export const bin = process.env.AGENTMUX_BIN ?? new URL('../../target/debug', import.meta.url).pathname;

/** Where the pictures and the consoles of broken promises go. */
const SCREENS = process.env.SCREENS ?? new URL('../shots/', import.meta.url).pathname;

/** Mostly they wait, for a server or for each other; with more the machine is measured and not the interface. */
const JOBS = Number(process.env.E2E_JOBS) || Math.min(4, availableParallelism() + 1);

/** None takes a fifth of this on a machine that does much else. */
const PROMISE_MS_MAX = 600_000;

/** How long a fact is waited for that comes in a second on a quiet machine. */
const PATIENCE_MS = 60_000;

let running;
/** One for all worlds: what they must not share is a context's own. */
const chromium = () => (running ??= launch());

/** `kinds`: more of `agents.toml`, given the folder of the world. */
export async function world({ kinds = () => '' } = {}) {
  const root = mkdtempSync(join(tmpdir(), 'amux-web-'));
  const env = { ...process.env, AGENTMUX_STATE_DIR: join(root, 'state'), AGENTMUX_CONFIG_DIR: join(root, 'config'), AGENTMUX_PROFILE: 'webtest', SHELL: '/bin/sh', PS1: '$ ' };
  mkdirSync(join(root, 'config'));
  mkdirSync(join(root, 'work'));
  writeFileSync(join(root, 'config', 'agents.toml'), `[kind.fake]\nabout = "a fake of Claude Code"\ndialect = "claude"\nprogram = "${join(bin, 'fake-agent')}"\nargs = ["claude"]\n${kinds(root)}`);
  // A browser comes back to the address it knows, so the port is chosen once.
  const probe = createServer().listen(0, '127.0.0.1');
  await new Promise((done) => probe.once('listening', done));
  const { port } = probe.address();
  await new Promise((done) => probe.close(done));
  writeFileSync(join(root, 'config', 'settings.jsonc'), JSON.stringify({ 'http.port': port }));
  const agentmux = (...args) => JSON.parse(execFileSync(join(bin, 'agentmux'), ['--json', ...args], { env, cwd: join(root, 'work'), encoding: 'utf8' })).data;
  const later = (...args) => new Promise((done) => execFile(join(bin, 'agentmux'), ['--json', ...args], { env, cwd: join(root, 'work') }, (_, out) => done(out)));
  agentmux('server', 'start');
  const status = agentmux('server', 'status');
  // The pages of this checkout by default; with WEB_EMBEDDED those in the program.
  const site = process.env.WEB_EMBEDDED ? null : await serve({ to: status.web_url });
  const contexts = [];
  const browser = {
    async newContext(options = {}) {
      const context = await (await chromium()).newContext({ serviceWorkers: 'block', ...options });
      context.setDefaultTimeout(PATIENCE_MS);
      contexts.push(context);
      context.on('page', heed);
      // Nobody hears the errors of an observer of sizes otherwise.
      await context.addInitScript(() => addEventListener('error', (event) => console.error(`error of the page: ${event.message}`)));
      return context;
    },
  };
  const url = () => (site ? site.url : status.web_url);

  async function code() {
    const link = execFileSync(join(bin, 'agentmux'), ['open', '--print'], { env, encoding: 'utf8' });
    return /#code=([\w-]+)/.exec(link)[1];
  }
  const errors = [];
  const said = [];
  function heed(page) {
    page.on('pageerror', (error) => (said.push(error.stack ?? error.message), errors.push(error.message)));
    page.on('console', (line) => {
      said.push(`${line.type()}: ${line.text()}`);
      if (/Content Security Policy|error of the page/.test(line.text())) errors.push(line.text());
    });
    page.on('dialog', (dialog) => (errors.push(`dialog: ${dialog.message()}`), dialog.dismiss()));
  }
  /** `zoom` is what the browser's own does: fewer or more pixels of the page on the same screen. */
  async function visit({ width = 1280, height = 800, phone = false, hash = '', zoom = 1, permissions = [], init = undefined } = {}) {
    const context = await browser.newContext({
      viewport: { width: Math.round(width / zoom), height: Math.round(height / zoom) },
      ...(zoom === 1 ? {} : { deviceScaleFactor: zoom }),
      isMobile: phone,
      hasTouch: phone,
      permissions,
    });
    if (init) await context.addInitScript(init);
    const page = await context.newPage();
    await page.goto(`${url()}/#code=${await code()}`);
    await page.getByRole('link', { name: /Inbox/ }).first().waitFor();
    if (hash) await page.evaluate((to) => (location.hash = to), hash);
    return page;
  }
  /** What a person would have seen, for the one who looks into why. */
  async function picture(name) {
    mkdirSync(SCREENS, { recursive: true });
    const file = join(SCREENS, `broken-${name.replace(/[^a-z0-9]+/gi, '-').slice(0, 80)}`);
    writeFileSync(`${file}.txt`, `${said.join('\n')}\n`);
    const pages = contexts.flatMap((context) => context.pages());
    await Promise.all(pages.map((page, n) => page.screenshot({ path: `${file}-${n + 1}.png`, timeout: 5000 }).catch(() => undefined)));
    return file;
  }
  /** The same in words, where nobody has the pictures: the last of each console, and of each page where it is and how it begins. */
  async function story() {
    const pages = contexts.flatMap((context) => context.pages());
    const tell = () => {
      const terminals = [...document.querySelectorAll('[data-terminal]')].map((one) => `[${one.__text?.().trim().slice(-300)}]`);
      return [location.hash, document.body.innerText.slice(0, 600), ...terminals].join('\n');
    };
    const told = await Promise.all(pages.map((page) => within(5000, page.evaluate(tell)).catch((error) => error.message)));
    return [...said.slice(-10), ...told].map((one) => one.replaceAll(/\s*\n\s*/g, ' | '));
  }
  return {
    root, env, agentmux, later, visit, browser, errors, url, site, status, code, picture, story,
    uid: (name) => agentmux('ls', '--all').find((agent) => agent.name === name).uid,
    pid: () => agentmux('server', 'status').pid,
    async end() {
      await Promise.all(contexts.map((context) => context.close().catch(() => undefined)));
      site?.close();
      try {
        agentmux('server', 'stop');
      } catch (error) {
        console.log('stop:', error.message);
      }
      rmSync(root, { recursive: true, force: true });
    },
  };
}

const tests = [];
export const promise = (name, test) => tests.push({ name, test, alone: false });
/** One that measures a time, weighs a page or reads the clipboard: nothing else happens meanwhile. */
promise.alone = (name, test) => tests.push({ name, test, alone: true });

async function within(ms, what) {
  let timer;
  const late = new Promise((_, fail) => (timer = setTimeout(() => fail(new Error(`not kept in ${ms} ms`)), ms)));
  try {
    return await Promise.race([what, late]);
  } finally {
    clearTimeout(timer);
  }
}

export async function keep(words) {
  const chosen = tests.filter(({ name }) => words.join(' ').split(',').some((group) => group.split(' ').every((word) => name.includes(word))));
  const broken = [];
  let skipped = 0;
  async function one({ name, test }) {
    const from = performance.now();
    let here;
    try {
      here = await world();
      const outcome = await within(PROMISE_MS_MAX, test(here));
      assert.deepEqual(here.errors, []);
      if (outcome?.skipped) skipped += 1;
      console.log(outcome?.skipped ? `SKIPPED ${name}: ${outcome.skipped}` : `ok    ${name} (${Math.round(performance.now() - from)} ms)`);
    } catch (error) {
      broken.push(name);
      console.log(`FAIL  ${name}\n${error.stack ?? error}`);
      if (here) console.log(`      see ${await here.picture(name)}*`);
      for (const line of (await here?.story()) ?? []) console.log(`      ${line}`);
    } finally {
      await here?.end();
    }
  }
  const crowd = chosen.filter((test) => !test.alone);
  await Promise.all(
    Array.from({ length: Math.max(1, JOBS) }, async () => {
      for (let next = crowd.shift(); next; next = crowd.shift()) await one(next);
    }),
  );
  for (const test of chosen.filter((test) => test.alone)) await one(test);
  await (await running)?.close();
  for (const name of broken) console.log(`broken: ${name}`);
  console.log(`${chosen.length - broken.length - skipped} passed, ${broken.length} failed${skipped ? `, ${skipped} skipped` : ''}`);
  return broken.length === 0 && chosen.length > 0;
}

/** The least of what up to three tries take. A pause of the machine comes once; what is slow is slow each time. */
export async function least(enough, take) {
  let best = Infinity;
  for (let tried = 0; tried < 3 && best >= enough; tried += 1) best = Math.min(best, await take(tried));
  return best;
}

/** Waits for a fact and not for a time. */
export async function until(look, what, ms = PATIENCE_MS) {
  const end = Date.now() + ms;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`not in ${ms} ms: ${what}`);
    await new Promise((done) => setTimeout(done, 20));
  }
}
