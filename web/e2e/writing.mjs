// What a person writes: by any keyboard, to a busy agent, over the end of a server; and one turn of a real CLI.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { bin, least, promise, until } from './world.mjs';

promise('a word that is still being composed is not sent by the Enter that takes it', async (here) => {
  here.agentmux('new', 'fay', '--agent', 'fake');
  const page = await here.visit({ hash: `#/agent/${here.uid('fay')}` });
  const field = page.getByRole('textbox', { name: 'Message fay' });
  await field.focus();
  const cdp = await page.context().newCDPSession(page);
  const sent = () => here.agentmux('inbox', '--agent', 'fay', '--all').map((mail) => mail.body);
  await page.evaluate(() => {
    window.composing = [];
    document.querySelector('textarea.compose').addEventListener('keydown', (event) => window.composing.push(event.isComposing || event.keyCode === 229));
  });
  for (const text of ['に', 'にほ', 'にほん']) await cdp.send('Input.imeSetComposition', { text, selectionStart: text.length, selectionEnd: text.length });
  // As browsers tell of a key that went to the method of input, and as some do that tell it after the end.
  await cdp.send('Input.dispatchKeyEvent', { type: 'rawKeyDown', key: 'Process', code: 'Enter', windowsVirtualKeyCode: 229 });
  await cdp.send('Input.dispatchKeyEvent', { type: 'keyUp', key: 'Enter', code: 'Enter', windowsVirtualKeyCode: 13 });
  assert.equal(await field.inputValue(), 'にほん');
  await cdp.send('Input.dispatchKeyEvent', { type: 'rawKeyDown', key: 'Enter', code: 'Enter', windowsVirtualKeyCode: 13 });
  await cdp.send('Input.dispatchKeyEvent', { type: 'keyUp', key: 'Enter', code: 'Enter', windowsVirtualKeyCode: 13 });
  assert.deepEqual(await page.evaluate(() => window.composing), [true, true], 'both keys were of the composition');
  assert.equal(await field.inputValue(), 'にほん');
  await cdp.send('Input.insertText', { text: '日本' });
  await until(async () => (await field.inputValue()) === '日本', 'the word that was taken');
  await field.press('Enter');
  await until(() => sent().length > 0, 'the message');
  assert.deepEqual(sent(), ['日本'], 'once, and whole');
});

promise.alone('what is sent to a busy agent is seen to be on its way at once, and outlives a reload and the server', async (here) => {
  here.agentmux('new', 'fay', '--agent', 'fake');
  here.agentmux('mail', 'fay', '--while-working', 'turn-end');
  const page = await here.visit({ hash: `#/agent/${here.uid('fay')}` });
  const field = page.getByRole('textbox', { name: 'Message fay' });
  await field.fill('hold');
  await field.press('Enter');
  await page.getByRole('button', { name: 'Queue', exact: true }).waitFor();
  let said;
  const took = await least(250, async (tried) => {
    here.agentmux('queue', 'fay').forEach(({ id }) => here.agentmux('msg', 'cancel', id));
    await page.locator('.queue').waitFor({ state: 'detached' });
    said = `and then this, ${tried}`;
    await field.fill(said);
    const painted = page.evaluate((words) => new Promise((done) => {
      let from = 0;
      document.querySelector('textarea.compose').addEventListener('keydown', (event) => (from = event.timeStamp), { capture: true, once: true });
      const watch = new MutationObserver(() => {
        if (!document.querySelector('.queue')?.textContent?.includes(words)) return;
        watch.disconnect();
        requestAnimationFrame(() => setTimeout(() => done(performance.now() - from)));
      });
      watch.observe(document.body, { childList: true, subtree: true });
    }), said);
    await field.press('Enter');
    return await painted;
  });
  console.log(`      Enter → chip: ${Math.round(took)} ms`);
  assert.ok(took < 250, `${took} ms`);
  const queue = page.getByRole('region', { name: 'Waiting for fay' });
  await queue.getByRole('button', { name: 'Take it back' }).waitFor();
  await page.reload();
  await queue.getByText(said).waitFor();
  here.agentmux('server', 'restart');
  await until(async () => (await page.getByText('Reconnecting').count()) === 0 && (await queue.getByText(said).count()) === 1, 'it waits still');
  const state = async () => (await queue.locator('.why').innerText()).toLowerCase();
  const [kept] = here.agentmux('queue', 'fay');
  assert.equal(kept.body ?? kept.message?.body, said);
  assert.ok((await state()).length > 0, 'and why it waits is said');
  process.kill(here.pid(), 'SIGKILL');
  // A load that ends may be that of the browser's own page, which says that nobody answers.
  const stands = () => queue.getByText(said).waitFor({ timeout: 10_000 });
  await until(() => page.reload().then(stands).then(() => true, () => false), 'and after a kill');
  await page.getByRole('button', { name: 'Stop' }).click();
  await page.getByText('done 2', { exact: true }).waitFor();
  assert.equal(here.agentmux('inbox', '--agent', 'fay', '--all').filter((mail) => mail.body === said).length, 1);
});

/** The program in its package, as the tests of the server look for it. */
function realClaude() {
  const set = (name) => process.env[name] || undefined;
  const root = set('AGENTMUX_REAL_AGENTS') ?? join(set('XDG_CACHE_HOME') ?? join(homedir(), '.cache'), 'agentmux/real-agents');
  const platform = `${process.platform}-${process.arch}`;
  return [`@anthropic-ai/claude-code-${platform}/claude`, '.bin/claude'].map((name) => join(root, 'node_modules', name)).find((file) => existsSync(file));
}

promise('a real claude does a turn in the browser: asked, streamed, and shown', async (here) => {
  const program = realClaude();
  if (!program) return { skipped: 'claude is not installed (cargo xtask test --real-agents)' };
  const model = spawn(join(bin, 'fake-model'), { stdio: ['ignore', 'pipe', 'ignore'] });
  try {
    const url = await new Promise((done, fail) => {
      let text = '';
      model.stdout.on('data', (part) => (text += part).includes('\n') && done(text.trim()));
      model.on('error', fail);
      model.on('exit', () => fail(new Error('the fake model ended')));
    });
    const kinds = readFileSync(new URL('../../crates/amux-agents/src/kinds.toml', import.meta.url), 'utf8');
    writeFileSync(join(here.root, 'config', 'agents.toml'), kinds.replace('program = "claude"', `program = "${program}"`));
    const home = join(here.root, 'home');
    mkdirSync(home);
    here.agentmux('server', 'restart');
    // What `amux_testkit::model::cli::claude` gives it.
    const env = { HOME: home, ANTHROPIC_BASE_URL: url, ANTHROPIC_API_KEY: 'x', CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1', DISABLE_AUTOUPDATER: '1', IS_SANDBOX: '1' };
    here.agentmux('new', 'real', '--agent', 'claude', '--cwd', join(here.root, 'work'), ...Object.entries(env).flatMap(([key, value]) => ['--env', `${key}=${value}`]));
    const page = await here.visit({ hash: `#/agent/${here.uid('real')}` });
    const field = page.getByRole('textbox', { name: 'Message real' });
    await field.fill('say hello from the browser');
    await field.press('Enter');
    await page.locator('[data-node]', { hasText: 'say hello from the browser' }).first().waitFor();
    await page.locator('[data-node]', { hasText: 'FAKE-REPLY: say hello from the browser' }).first().waitFor();
    await until(() => here.agentmux('ls', '--all').find((agent) => agent.name === 'real').state === 'idle', 'the end of its turn');
    const shown = async (of) => (await of.locator('[data-nodes]').innerText().catch(() => '')).replace(/\d\d:\d\d:\d\d|\d+ (ms|s|m)\b/g, 'T');
    const fresh = await here.visit({ hash: `#/agent/${here.uid('real')}` });
    await until(async () => /FAKE-REPLY/.test(await shown(fresh)) && (await shown(fresh)) === (await shown(page)), 'a fresh page shows the same').catch(async () => assert.equal(await shown(page), await shown(fresh)));
  } finally {
    model.kill();
  }
});
