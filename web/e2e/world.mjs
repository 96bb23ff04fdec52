// A real server in a folder of its own, agents made with the command line, and browsers that are signed in.
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { launch } from './browser.mjs';
import { serve } from './serve.mjs';

const bin = process.env.AGENTMUX_BIN ?? new URL('../../target/debug', import.meta.url).pathname;

export async function world() {
  const root = mkdtempSync(join(tmpdir(), 'amux-web-'));
  const env = { ...process.env, AGENTMUX_STATE_DIR: join(root, 'state'), AGENTMUX_CONFIG_DIR: join(root, 'config'), AGENTMUX_PROFILE: 'webtest', SHELL: '/bin/sh', PS1: '$ ' };
  mkdirSync(join(root, 'config'));
  mkdirSync(join(root, 'work'));
  writeFileSync(join(root, 'config', 'agents.toml'), `[kind.fake]\nabout = "a fake of Claude Code"\ndialect = "claude"\nprogram = "${join(bin, 'fake-agent')}"\nargs = ["claude"]\n`);
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
  const browser = await launch();
  const url = () => (site ? site.url : status.web_url);

  async function code() {
    const link = execFileSync(join(bin, 'agentmux'), ['open', '--print'], { env, encoding: 'utf8' });
    return /#code=([\w-]+)/.exec(link)[1];
  }
  const errors = [];
  async function visit({ width = 1280, height = 800, phone = false, hash = '' } = {}) {
    const context = await browser.newContext({ viewport: { width, height }, isMobile: phone, hasTouch: phone, serviceWorkers: 'block' });
    const page = await context.newPage();
    page.on('pageerror', (error) => errors.push(error.message));
    page.on('console', (line) => /Content Security Policy/.test(line.text()) && errors.push(line.text()));
    page.on('dialog', (dialog) => (errors.push(`dialog: ${dialog.message()}`), dialog.dismiss()));
    await page.goto(`${url()}/#code=${await code()}`);
    await page.getByRole('link', { name: /Inbox/ }).first().waitFor();
    if (hash) await page.evaluate((to) => (location.hash = to), hash);
    return page;
  }
  return {
    root, env, agentmux, later, visit, browser, errors, url, site, status, code,
    pid: () => agentmux('server', 'status').pid,
    async end() {
      await browser.close();
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
export const promise = (name, test) => tests.push({ name, test });

export async function keep(words) {
  const chosen = tests.filter(({ name }) => words.every((word) => name.includes(word)));
  let [passed, failed] = [0, 0];
  for (const { name, test } of chosen) {
    const from = performance.now();
    const here = await world();
    try {
      await test(here);
      assert.deepEqual(here.errors, []);
      passed += 1;
      console.log(`ok    ${name} (${Math.round(performance.now() - from)} ms)`);
    } catch (error) {
      failed += 1;
      console.log(`FAIL  ${name}\n${error.stack ?? error}`);
    } finally {
      await here.end();
    }
  }
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0;
}

/** Waits for a fact and not for a time. */
export async function until(look, what, ms = 15_000) {
  const end = Date.now() + ms;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`not in ${ms} ms: ${what}`);
    await new Promise((done) => setTimeout(done, 20));
  }
}
