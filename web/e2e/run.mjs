// The promises of the interface against a real server. `npm run e2e -- WORD` keeps those whose name has the word.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { alone } from './browser.mjs';
import { keep, least, promise, until } from './world.mjs';
import './daily.mjs';
import './forms.mjs';

const uidOf = (here, name) => here.agentmux('ls', '--all').find((agent) => agent.name === name).uid;
const docOf = (page) => page.locator('[data-nodes]').evaluate((list) => [...list.children].map((node) => node.innerText.replace(/\d\d:\d\d:\d\d/g, 'T').replace(/\d+ (ms|s|m)\b/g, 'T')).join('\n'));

promise('a browser signs in with the code of the fragment, once, and the code leaves the address', async (here) => {
  const page = await here.visit();
  assert.equal(await page.evaluate(() => location.hash), '#/inbox');
  const stranger = await (await here.browser.newContext()).newPage();
  await stranger.goto(here.url());
  await stranger.getByRole('heading', { name: 'Sign in to agentmux' }).waitFor();
  await stranger.getByLabel('Link or code').fill('wrong');
  await stranger.getByRole('button', { name: 'Sign in' }).click();
  await stranger.getByRole('alert').waitFor();
  await stranger.getByLabel('Link or code').fill(`http://x/#code=${await here.code()}`);
  await stranger.getByRole('button', { name: 'Sign in' }).click();
  await stranger.getByRole('heading', { name: 'Inbox' }).waitFor();
});

promise.alone('an agent made elsewhere is in the list, and a permission is answered from a phone with one tap while the desktop sees it', async (here) => {
  const [desktop, phone] = [await here.visit(), await here.visit({ width: 360, height: 740, phone: true })];
  here.agentmux('new', 'fay', '--agent', 'fake');
  await desktop.getByRole('link', { name: /fay/ }).waitFor();
  const took = await least(1000, async (tried) => {
    await here.later('send', 'fay', '-m', 'ask');
    const card = phone.locator('main li.need');
    await card.getByText(`touch ${tried + 1}`).first().waitFor();
    assert.equal(await phone.title(), '(1) agentmux');
    await desktop.locator('main li.need').waitFor();
    const gone = desktop.evaluate(() => new Promise((done) => {
      const list = document.querySelector('[data-key^="ask"]').parentElement;
      const watch = new MutationObserver(() => !document.querySelector('[data-key^="ask"]') && (watch.disconnect(), done(performance.timeOrigin + performance.now())));
      watch.observe(list, { childList: true, subtree: true });
    }));
    const tapped = await phone.evaluate(() => performance.timeOrigin + performance.now());
    await card.locator('[data-answer=allow_once]').tap();
    const followed = (await gone) - tapped;
    await until(async () => (await desktop.title()) === 'agentmux', 'no count in the title');
    return followed;
  });
  console.log(`      tap → desktop: ${Math.round(took)} ms`);
  assert.ok(took < 1000, `the desktop followed after ${took} ms`);
});

promise('what is sent while an agent works is queued, survives a reload, can be reworded, taken back and given now', async (here) => {
  here.agentmux('new', 'fay', '--agent', 'fake');
  here.agentmux('mail', 'fay', '--while-working', 'turn-end');
  const uid = uidOf(here, 'fay');
  const page = await here.visit({ hash: `#/agent/${uid}` });
  const field = page.getByRole('textbox', { name: 'Message fay' });
  await field.fill('hold');
  await field.press('Enter');
  await page.getByRole('button', { name: 'Queue', exact: true }).waitFor();
  await field.fill('second');
  await field.press('Enter');
  const queue = page.getByRole('region', { name: 'Waiting for fay' });
  await queue.getByText('second').waitFor();
  await page.reload();
  await queue.getByText('second').waitFor();
  await queue.getByRole('button', { name: 'Other words' }).click();
  await queue.getByRole('textbox', { name: 'Other words' }).fill('third');
  await queue.getByRole('textbox', { name: 'Other words' }).press('Enter');
  await queue.getByText('third').waitFor();
  assert.match(JSON.stringify(here.agentmux('queue', 'fay')), /third/);
  await queue.getByRole('button', { name: 'Take it back' }).click();
  await queue.waitFor({ state: 'detached' });
  await page.getByRole('button', { name: 'Stop' }).click();
  await page.getByText('Interrupted', { exact: true }).waitFor();
  await page.getByRole('button', { name: 'Send', exact: true }).waitFor();
});

promise('a draft is kept by the server and comes up on another device', async (here) => {
  here.agentmux('new', 'fay', '--agent', 'fake');
  const hash = `#/agent/${uidOf(here, 'fay')}`;
  const page = await here.visit({ hash });
  await page.getByRole('textbox', { name: 'Message fay' }).fill('half a thou');
  const other = await here.visit({ hash });
  await until(async () => (await other.getByRole('textbox', { name: 'Message fay' }).inputValue()) === 'half a thou', 'the draft on the other device');
  await other.getByRole('textbox', { name: 'Message fay' }).press('Enter');
  await other.getByText('half a thou', { exact: true }).first().waitFor();
  await page.evaluate(() => (location.hash = '#/inbox'));
  await other.getByRole('textbox', { name: 'Message fay' }).fill('of the other');
  await page.evaluate((to) => (location.hash = to), hash);
  const field = page.getByRole('textbox', { name: 'Message fay' });
  await until(async () => (await field.inputValue()) === 'of the other', 'what the other device has, though this one had words of its own');
  await field.press('Home');
  await field.press('ArrowUp');
  await until(async () => (await field.inputValue()) === 'half a thou', 'what was sent');
  await page.getByRole('button', { name: 'Details' }).click();
  await page.getByRole('button', { name: 'Details' }).click();
  assert.equal(await field.inputValue(), 'of the other', 'what was called back is no draft');
});

promise('a terminal takes keys, shows what comes, and is the same after a reload, with what scrolled away', async (here) => {
  here.agentmux('new', 'sh', '--agent', 'shell');
  const page = await here.visit({ hash: `#/agent/${uidOf(here, 'sh')}` });
  await page.locator('.xterm-screen').waitFor();
  await page.locator('.xterm-helper-textarea').focus();
  await page.keyboard.type('echo $((6*7))-ok; seq 200\n');
  await until(async () => /199[\s\S]*200/.test(here.agentmux('look', 'sh').lines.join('\n')), 'the answer of the shell');
  const shows = () => page.evaluate(() => document.querySelector('[data-terminal]').__text());
  await until(async () => /\n42-ok\s+1\s+2\s[\s\S]*\s199\s+200\s+\S*[$#]\s*$/.test(await shows()), 'the answer and the next prompt on the page');
  const before = (await shows()).trim();
  await page.reload();
  await until(async () => ((await page.locator('[data-terminal]').count()) ? (await shows()).trim() === before : false), 'the same screen after a reload');
});

promise('whoever walks through twenty terminals sees each of them: what is not looked at is let go', async (here) => {
  for (let i = 0; i < 20; i += 1) here.agentmux('new', `w${i}`, '--agent', 'cmd', '--', 'sh', '-c', `echo this is number ${i}.; cat`);
  const page = await here.visit();
  for (let i = 0; i < 20; i += 1) {
    await page.evaluate((to) => (location.hash = to), `#/agent/${uidOf(here, `w${i}`)}`);
    await until(() => page.evaluate((i) => document.querySelector('[data-terminal]')?.__text?.().includes(`number ${i}.`), i), `terminal ${i}`);
  }
});

promise('after a kill of the server the page says so, comes back, and terminal and document are what a fresh page shows', async (here) => {
  here.agentmux('new', 'pty', '--agent', 'cmd', '--', 'sh', '-c', 'i=0; while true; do i=$((i+1)); echo line $i; [ $i -lt 4000 ] || { echo END; cat; }; done');
  here.agentmux('new', 'fay', '--agent', 'fake');
  const [terminal, document] = [await here.visit({ hash: `#/agent/${uidOf(here, 'pty')}` }), await here.visit({ hash: `#/agent/${uidOf(here, 'fay')}` })];
  await here.later('send', 'fay', '-m', 'say:10 sleep:900 say:10');
  await terminal.locator('.xterm-screen').waitFor();
  process.kill(here.pid(), 'SIGKILL');
  const shows = (page) => page.evaluate(() => document.querySelector('[data-terminal]')?.__text().trimEnd() ?? '');
  await until(async () => /END/.test(await shows(terminal)), 'the end of the output');
  await until(async () => /done 1/.test(await docOf(document)), 'the end of the turn');
  const [fresh, other] = [await here.visit({ hash: `#/agent/${uidOf(here, 'pty')}` }), await here.visit({ hash: `#/agent/${uidOf(here, 'fay')}` })];
  const tail = async (page) => (await shows(page)).split('\n').slice(-20).join('\n');
  await until(async () => /END/.test(await tail(fresh)) && (await tail(terminal)) === (await tail(fresh)), 'the same on a fresh page');
  await until(async () => (await docOf(other)).includes('done 1'), 'the document on a fresh page');
  assert.equal(await docOf(document), await docOf(other));
});

promise('while the server is away the page says so, and goes on by itself when it is back', async (here) => {
  here.agentmux('new', 'fay', '--agent', 'fake');
  const page = await here.visit({ hash: `#/agent/${uidOf(here, 'fay')}` });
  await page.getByRole('textbox', { name: 'Message fay' }).fill('not lost');
  here.agentmux('server', 'stop');
  await page.getByText('Reconnecting').waitFor();
  await page.getByRole('textbox', { name: 'Message fay' }).press('Enter');
  await page.getByText('waits for the server').waitFor();
  here.agentmux('server', 'start');
  await page.getByText('Reconnecting').waitFor({ state: 'detached' });
  await until(() => here.agentmux('inbox', '--agent', 'fay', '--all').filter((mail) => mail.body === 'not lost').length === 1, 'the message, once');
});

promise('a storm of agents and requests never moves the focus', async (here) => {
  const page = await here.visit();
  await page.getByRole('button', { name: 'Find anything' }).focus();
  await page.evaluate(() => {
    window.moves = 0;
    document.addEventListener('focusin', () => (window.moves += 1));
  });
  for (let i = 0; i < 6; i += 1) {
    here.agentmux('new', `a${i}`, '--agent', 'fake');
    await here.later('send', `a${i}`, '-m', i % 2 ? 'ask' : 'say:10');
  }
  await until(async () => (await page.locator('main li.need').count()) === 3, 'three requests');
  assert.equal(await page.evaluate(() => window.moves), 0);
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute('aria-label')), 'Find anything');
});

promise('a reader who scrolled up stays there to the pixel while the agent goes on', async (here) => {
  here.agentmux('new', 'fay', '--agent', 'fake');
  for (let i = 0; i < 25; i += 1) await here.later('send', 'fay', '-m', `say:4 number ${i}`, '--wait', 'acked');
  const page = await here.visit({ hash: `#/agent/${uidOf(here, 'fay')}`, height: 600 });
  await page.locator('main').getByText('done 25').waitFor();
  const box = page.getByRole('log', { name: /fay/ });
  await box.hover();
  await page.mouse.wheel(0, -700);
  await page.getByRole('button', { name: 'To the end' }).waitFor();
  const place = () => page.evaluate(() => [...document.querySelectorAll('[data-node]')].map((node) => [node.dataset.node, Math.round(node.getBoundingClientRect().top)]).find(([, top]) => top > 100));
  // The wheel's own glide is over when it was in one place for a while.
  await box.evaluate(async (one) => {
    for (let same = 0, last = -1; same < 12; same = one.scrollTop === last ? same + 1 : 0) {
      last = one.scrollTop;
      await new Promise(requestAnimationFrame);
    }
  });
  const before = await place();
  for (let i = 0; i < 4; i += 1) await here.later('send', 'fay', '-m', 'say:4 more', '--wait', 'acked');
  await page.getByRole('button', { name: /\d new/ }).waitFor();
  assert.deepEqual(await place(), before);
  await page.getByRole('button', { name: /\d new/ }).click();
  await page.locator('main').getByText('done 29').waitFor();
  await until(() => box.evaluate((one) => one.scrollHeight - one.scrollTop - one.clientHeight < 3), 'the end in view');
});

promise('with the keyboard alone: find, make an agent, write to it, answer it, see the keys', async (here) => {
  const page = await here.visit();
  const press = (...keys) => keys.reduce((before, key) => before.then(() => page.keyboard.press(key)), Promise.resolve());
  await press('?');
  await page.getByRole('dialog', { name: 'Keyboard shortcuts' }).waitFor();
  await press('Escape', 'Control+k');
  await page.keyboard.type('new ag');
  await press('Enter');
  await page.getByRole('heading', { name: 'New agent' }).waitFor();
  for (let i = 0; i < 60 && !(await page.evaluate(() => document.activeElement.matches('[name=kind]'))); i += 1) await press('Tab');
  for (let i = 0; i < 30 && !(await page.locator('[name=kind][value=fake]').isChecked()); i += 1) await press('ArrowDown');
  await press('Tab');
  await page.keyboard.type('kay');
  await press('Tab', 'Tab');
  await page.keyboard.type(here.root);
  await press('Enter');
  await page.getByRole('textbox', { name: 'Message kay' }).waitFor();
  await press('i');
  await page.keyboard.type('ask');
  await press('Enter');
  await page.locator('.asked').waitFor();
  await press('Escape', 'g', 'i');
  await page.getByRole('heading', { name: 'Inbox' }).waitFor();
  await page.locator('main li.need').waitFor();
  await press('j', 'a');
  await page.locator('main li.need').waitFor({ state: 'detached' });
});

promise('two browsers share a layout, each with its own focus', async (here) => {
  here.agentmux('new', 'one', '--agent', 'shell');
  here.agentmux('new', 'two', '--agent', 'fake');
  const a = await here.visit({ hash: `#/agent/${uidOf(here, 'two')}` });
  await a.getByRole('textbox', { name: 'Message two' }).waitFor();
  await a.keyboard.press('Control+\\');
  await a.locator('[data-pane]').waitFor();
  await a.keyboard.press('Control+\\');
  await until(async () => (await a.locator('[data-pane]').count()) === 2, 'two panes');
  await a.locator('.choose').getByRole('button', { name: 'one@default' }).click();
  await a.locator('.xterm-screen').waitFor();
  const b = await here.visit({ hash: await a.evaluate(() => location.hash) });
  await until(async () => (await b.locator('[data-pane]').count()) === 2, 'two panes in the other browser');
  const share = () => b.locator('[data-pane]').first().evaluate((pane) => Math.round((100 * pane.offsetWidth) / pane.parentElement.offsetWidth));
  assert.equal(await share(), 50);
  await a.getByRole('separator').focus();
  await a.keyboard.press('ArrowRight');
  await until(async () => (await share()) === 54, 'the new share in the other browser');
  await b.locator('[data-pane]').first().click({ position: { x: 40, y: 10 } });
  await a.locator('[data-pane]').last().click({ position: { x: 40, y: 10 } });
  await b.getByRole('button', { name: 'Close', exact: true }).first().click();
  await until(async () => (await a.locator('[data-pane]').count()) === 1, 'closed in both');
  await b.getByRole('button', { name: 'Undo' }).click();
  await until(async () => (await a.locator('[data-pane]').count()) === 2, 'back in both');
});

promise('nothing an agent or a stranger writes comes alive', async (here) => {
  const corpus = JSON.parse(readFileSync(new URL('../golden/xss.json', import.meta.url), 'utf8'));
  here.agentmux('new', 'fay', '--agent', 'fake');
  here.agentmux('new', 'sh', '--agent', 'shell');
  const all = corpus.join('\n\n');
  here.agentmux('send', 'operator', '-m', all);
  here.agentmux('send', 'fay', '-m', all);
  await here.later('keys', 'sh', "'printf \"\\033]52;c;aGk=\\007\\033]0;<img src=x onerror=alert(1)>\\007\"'", 'Enter');
  const page = await here.visit();
  for (const hash of ['#/inbox', '#/messages', `#/agent/${uidOf(here, 'fay')}`, `#/agent/${uidOf(here, 'sh')}`, '#/events']) {
    await page.evaluate((to) => (location.hash = to), hash);
    await page.waitForTimeout(400);
    assert.equal(await page.evaluate(() => document.querySelectorAll('main script, main img, main iframe, main svg[onload], main [onerror], main [onclick], main [onload], main form[action], main style').length), 0);
  }
  await page.evaluate(() => (location.hash = '#/messages'));
  await page.locator('.side a').first().click();
  await page.locator('.thread').waitFor();
  assert.equal(await page.title(), 'agentmux');
});

promise('a denial tells the agent why, and a rule answers the next of its kind', async (here) => {
  here.agentmux('new', 'fay', '--agent', 'fake');
  const page = await here.visit();
  await here.later('send', 'fay', '-m', 'ask');
  const card = page.locator('main li.need');
  await card.getByRole('button', { name: 'Deny and say why…' }).click();
  await card.getByRole('textbox', { name: 'Reason for denying' }).fill('use the staging folder');
  await card.getByRole('textbox', { name: 'Reason for denying' }).press('Enter');
  await card.waitFor({ state: 'detached' });
  const tape = () => execFileSync('grep', ['-rlF', 'use the staging folder', join(here.root, 'state', 'tapes')], { encoding: 'utf8' });
  assert.match(tape(), /\/in/);
  await here.later('send', 'fay', '-m', 'ask');
  await card.getByText('touch 2').first().waitFor();
  await card.getByRole('button', { name: /^Rules/ }).click();
  await page.getByRole('menuitem', { name: 'Always “touch *”' }).click();
  await card.waitFor({ state: 'detached' });
  await here.later('send', 'fay', '-m', 'ask', '--wait', 'acked');
  assert.deepEqual(here.agentmux('requests'), []);
});

promise.alone('fifty agents are painted in a second or two, and an agent of 20,000 entries opens with three questions at most', async (here) => {
  for (let i = 0; i < 49; i += 1) here.agentmux('new', `s${i}`, '--agent', 'fake', '--no-start-agent');
  here.agentmux('new', 'fay', '--agent', 'fake');
  const uid = uidOf(here, 'fay');
  await here.later('send', 'fay', '-m', 'say:3', '--wait', 'acked');
  here.agentmux('stop', 'fay');
  await until(() => here.agentmux('ls', '--all').find((agent) => agent.name === 'fay').state === 'offline', 'it has stopped');
  const at = new Date().toISOString();
  const entries = Array.from({ length: 20_000 }, (_, n) => JSON.stringify({ n: n + 1, i: 0, offset: n * 10, at, item: { type: 'message', id: `m${n}`, text: `Entry **${n}** of many` } }));
  writeFileSync(join(here.root, 'state', 'tapes', uid, '1', 'transcript'), `${entries.join('\n')}\n`);
  const page = await here.visit();
  const asked = [];
  await alone(page);
  page.on('websocket', (socket) => socket.on('framesent', ({ payload }) => asked.push(String(payload))));
  const paint = await least(3000, async () => {
    await page.reload();
    await page.getByRole('link', { name: /s48/ }).waitFor();
    return await page.evaluate(() => performance.now());
  });
  const took = await least(600, async (tried) => {
    // What was seen once is still at hand.
    if (tried > 0) {
      await page.evaluate(() => (location.hash = ''));
      await page.reload();
      await page.getByRole('link', { name: /s48/ }).waitFor();
    }
    asked.length = 0;
    return await page.evaluate(
      (hash) =>
        new Promise((done) => {
          const from = performance.now();
          const watch = new MutationObserver(() => document.body.innerText.includes('Entry 19999') && (watch.disconnect(), requestAnimationFrame(() => done(performance.now() - from))));
          watch.observe(document.body, { childList: true, subtree: true });
          location.hash = hash;
        }),
      `#/agent/${uid}`,
    );
  });
  console.log(`      fifty agents: ${Math.round(paint)} ms; 20,000 entries: ${Math.round(took)} ms, ${asked.length} questions`);
  assert.ok(paint < 3000 && took < 600, `budgets of a busy machine: ${paint} and ${took} ms`);
  assert.ok((await page.locator('[data-node]').count()) <= 160, 'only what is seen first is drawn');
  assert.ok(asked.length <= 3, asked.join('\n'));
  // And the earlier ones are there for who goes up.
  await page.getByRole('log', { name: /fay/ }).hover();
  for (let i = 0; i < 6; i += 1) await page.mouse.wheel(0, -4000);
  await page.getByText('Entry 19700 of many').waitFor();
});

promise('a file goes with a message and comes back as it was, and @ completes whom it names', async (here) => {
  here.agentmux('new', 'fay', '--agent', 'fake');
  here.agentmux('new', 'scout', '--agent', 'fake', '--no-start-agent');
  const page = await here.visit({ hash: `#/agent/${uidOf(here, 'fay')}` });
  const field = page.getByRole('textbox', { name: 'Message fay' });
  await field.pressSequentially('see @sco');
  await page.getByRole('option', { name: /scout/ }).waitFor();
  await field.press('Enter');
  assert.equal(await field.inputValue(), 'see @scout@default ');
  const bytes = Buffer.from('<script>alert(1)</script>\n');
  await page.locator('.composer input[type=file]').setInputFiles([{ name: 'page.html', mimeType: 'text/html', buffer: bytes }, { name: 'page.html', mimeType: 'text/html', buffer: Buffer.from('other') }]);
  const chosen = page.getByRole('list', { name: 'Files to send' });
  await chosen.getByText('26 B').waitFor();
  await chosen.getByRole('button', { name: 'Leave page-2.html out' }).click();
  await page.getByRole('button', { name: 'Send', exact: true }).click();
  const link = page.getByRole('link', { name: /page\.html/ }).first();
  await link.waitFor();
  const [download] = await Promise.all([page.waitForEvent('download'), link.click()]);
  assert.equal(download.suggestedFilename(), 'page.html');
  assert.deepEqual(readFileSync(await download.path()), bytes);
  const said = await page.locator('[data-node]', { hasText: 'see @scout@default' }).innerText();
  assert.doesNotMatch(said, /attached|page-2/);
});

promise('code in a fence has colours under the policy of the page', async (here) => {
  here.agentmux('send', 'operator', '-m', '```rust\nfn main() { let a = "<b>"; }\n```');
  const page = await here.visit();
  const word = page.locator('main pre[data-lang=rust] .hljs-keyword').first();
  await word.waitFor();
  const colour = (what) => what.evaluate((element) => getComputedStyle(element).color);
  assert.notEqual(await colour(word), await colour(page.locator('main pre[data-lang=rust] code')));
});

/** An agent that has stopped, with a transcript of our making. */
async function told(here, name, entries) {
  here.agentmux('new', name, '--agent', 'fake');
  await here.later('send', name, '-m', 'say:3', '--wait', 'acked');
  here.agentmux('stop', name);
  await until(() => here.agentmux('ls', '--all').find((agent) => agent.name === name).state === 'offline', 'it has stopped');
  writeFileSync(join(here.root, 'state', 'tapes', uidOf(here, name), '1', 'transcript'), entries.map((entry) => `${JSON.stringify(entry)}\n`).join(''));
  return uidOf(here, name);
}

promise('a reader jumps to a time, goes from message to message and back to the end, with the keyboard alone', async (here) => {
  const begin = new Date(2026, 0, 5, 9).getTime();
  const entries = Array.from({ length: 9000 }, (_, n) => ({
    n: n + 1, i: 0, offset: n * 10, at: new Date(begin + n * 60_000).toISOString(),
    item: n % 100 === 0 ? { type: 'input', input: `i${n}`, text: `Question ${n}` } : { type: 'message', id: `m${n}`, text: `Answer ${n}. ${'word '.repeat(n % 37)}` },
  }));
  const uid = await told(here, 'fay', entries);
  const page = await here.visit({ hash: `#/agent/${uid}` });
  const seen = (text) => page.waitForFunction((text) => {
    const box = document.querySelector('[role=log]').getBoundingClientRect();
    return [...document.querySelectorAll('[data-node]')].some((node) => { const at = node.getBoundingClientRect(); return node.innerText.includes(text) && at.bottom > box.top && at.top < box.bottom; });
  }, text);
  await seen('Answer 8999.');
  const log = page.getByRole('log', { name: /fay/ });
  await log.focus();
  await page.keyboard.press('Alt+ArrowUp');
  await seen('Question 8900');
  await page.keyboard.press('Alt+ArrowUp');
  await seen('Question 8800');
  await page.keyboard.press('Alt+ArrowDown');
  await seen('Question 8900');
  await page.keyboard.press('g');
  await page.keyboard.press('t');
  const dialog = page.getByRole('dialog', { name: 'Jump to' });
  // Ten minutes after the second midnight.
  await dialog.getByLabel('Date and time').fill('2026-01-07T00:10');
  await page.keyboard.press('Enter');
  await dialog.waitFor({ state: 'detached' });
  await seen('Answer 2350.');
  assert.match(await page.locator('[data-node^=day]').first().innerText(), /January/);
  assert.ok((await page.locator('[data-node]').count()) < 900, 'only what is near is drawn');
  await log.focus();
  await page.keyboard.press('Alt+ArrowDown');
  await seen('Question 2400');
  await page.keyboard.press('Alt+ArrowUp');
  await page.keyboard.press('Alt+ArrowUp');
  await seen('Question 2200');
  await page.keyboard.press('Alt+Shift+ArrowUp');
  await seen('Question 0');
  await page.keyboard.press('Alt+Shift+ArrowDown');
  await seen('Answer 8999.');
  // A turn of which the end is all that is drawn.
  const long = await told(here, 'may', entries.slice(0, 700).map((entry, n) => (n % 100 === 0 && n > 0 ? { ...entry, item: { type: 'message', id: `m${n}`, text: `Answer ${n}.` } } : entry)));
  await page.evaluate((uid) => (location.hash = `#/agent/${uid}`), long);
  await seen('Answer 699.');
  await page.getByRole('log', { name: /may/ }).focus();
  await page.keyboard.press('Alt+ArrowUp');
  await seen('Question 0');
});

promise('the raw entries are read page by page, and searched to the beginning', async (here) => {
  const entries = Array.from({ length: 5000 }, (_, n) => ({ n: n + 1, i: 0, offset: n * 10, at: new Date(1767600000000 + n * 1000).toISOString(), item: { type: 'message', id: `m${n}`, text: n === 7 ? 'the needle <b>' : `straw ${n}` } }));
  const uid = await told(here, 'fay', entries);
  const page = await here.visit({ hash: `#/agent/${uid}` });
  await page.getByRole('article').getByRole('button', { name: 'More for fay' }).click();
  await page.getByRole('menuitemcheckbox', { name: 'Raw frames' }).click();
  await page.getByRole('button', { name: 'Entries' }).click();
  const raw = page.getByRole('region', { name: 'Raw entries of fay' });
  await raw.getByText('"straw 4999"').waitFor();
  assert.equal(await raw.getByText('"straw 4700"').count(), 0);
  await raw.getByRole('button', { name: 'Older entries' }).click();
  await raw.getByText('"straw 4700"').waitFor();
  await page.getByLabel('Search in the raw entries').fill('NEEDLE');
  await page.keyboard.press('Enter');
  await raw.getByText('the needle <b>').waitFor();
  await page.getByText('1 entry of 5000, which is all').waitFor();
  // What is said meanwhile comes by itself.
  here.agentmux('new', 'live', '--agent', 'fake');
  await page.evaluate((uid) => (location.hash = `#/agent/${uid}`), uidOf(here, 'live'));
  await page.getByRole('article').getByRole('button', { name: 'More for live' }).click();
  await page.getByRole('menuitemcheckbox', { name: 'Raw frames' }).click();
  await page.getByRole('button', { name: 'Entries' }).click();
  const fresh = page.getByRole('region', { name: 'Raw entries of live' });
  await fresh.waitFor();
  await here.later('send', 'live', '-m', 'a word to be seen');
  await fresh.getByText('a word to be seen').first().waitFor();
});

promise('what was recorded of real CLIs is drawn as the golden documents say, and the same after a reload', async (here) => {
  const folder = new URL('../golden/recorded/', import.meta.url).pathname;
  const names = readdirSync(folder).filter((file) => file.endsWith('.entries.jsonl')).map((file) => file.replace('.entries.jsonl', ''));
  const rows = (file) => readFileSync(join(folder, file), 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line));
  const uid = await told(here, 'fay', []);
  for (const name of names) {
    const stored = rows(`${name}.entries.jsonl`).filter(({ item }) => !/_delta$|^tool_output$/.test(item.type));
    writeFileSync(join(here.root, 'state', 'tapes', uid, '1', 'transcript'), stored.map((entry) => `${JSON.stringify(entry)}\n`).join(''));
    const page = await here.visit({ hash: `#/agent/${uid}` });
    const wanted = rows(`${name}.nodes.jsonl`).map((node) => node.id);
    const ids = () => page.locator('[data-node]').evaluateAll((all) => all.map((node) => node.dataset.node));
    await until(async () => JSON.stringify(await ids()) === JSON.stringify(wanted), `${name}: ${wanted}`);
    // Every card opens.
    for (const closed = page.locator('[data-tool] > button[aria-expanded=false]'); (await closed.count()) > 0; ) await closed.first().click();
    await page.context().close();
  }
});
for (const more of ['panes', 'terminal', 'doors', 'hours', 'writing', 'reading', 'saving', 'words', 'asks']) await import(`./${more}.mjs`);

const done = await keep(process.argv.slice(2));
process.exit(done ? 0 : 1);
