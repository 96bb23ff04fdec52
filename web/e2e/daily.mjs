// The daily round: what a person does all day long with the inbox, the list, the composer and the panes.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { least, promise, until } from './world.mjs';

const uidOf = (here, name) => here.agentmux('ls', '--all').find((agent) => agent.name === name).uid;

promise('a change of a file is shown as one where it is asked for, and questions of one go stand together', async (here) => {
  here.agentmux('new', 'fay', '--agent', 'fake');
  here.agentmux('new', 'quiz', '--agent', 'fake');
  const page = await here.visit();
  await here.later('send', 'fay', '-m', 'edit');
  await here.later('send', 'quiz', '-m', 'quiz');
  const change = page.locator('main li.need', { hasText: 'fay@default' });
  await change.locator('tr.plus', { hasText: 'let b = 3;' }).waitFor();
  assert.equal(await change.locator('tr.minus').count(), 1);
  const both = page.locator('main li.need', { hasText: 'quiz@default' });
  await both.getByText('2 things at once').waitFor();
  assert.equal(await page.title(), '(3) agentmux');
  await both.getByRole('button', { name: 'blue' }).click();
  await both.getByText('Which colour?').waitFor({ state: 'detached' });
  await both.getByRole('textbox', { name: 'Answer in your own words' }).fill('medium');
  await both.getByRole('textbox', { name: 'Answer in your own words' }).press('Enter');
  await both.waitFor({ state: 'detached' });
  const given = () => execFileSync('grep', ['-rhF', 'medium', join(here.root, 'state', 'tapes')], { encoding: 'utf8' });
  assert.match(given(), /"Which colour\?\\?":\\?"blue/);
});

promise('what is dismissed, put off and muted is so on every device, and a dismissal can be taken back', async (here) => {
  here.agentmux('new', 'fay', '--agent', 'fake');
  const [desk, phone] = [await here.visit(), await here.visit({ width: 360, height: 740, phone: true })];
  await here.later('send', 'fay', '-m', 'say:3', '--wait', 'acked');
  const finished = (page) => page.locator('main li.finished', { hasText: 'fay@default' });
  await finished(phone).waitFor();
  await finished(desk).focus();
  await desk.keyboard.press('e');
  await finished(phone).waitFor({ state: 'detached' });
  await desk.getByRole('button', { name: 'Undo' }).click();
  await finished(phone).waitFor();
  await finished(desk).focus();
  await desk.keyboard.press('s');
  await finished(phone).waitFor({ state: 'detached' });
  await phone.reload();
  await phone.getByText('1 put off').waitFor();
  await phone.getByRole('button', { name: 'Bring back' }).click();
  await finished(desk).waitFor();
  await desk.getByRole('link', { name: /^idle fay/ }).hover();
  await desk.getByRole('button', { name: 'More for fay', exact: true }).click();
  await desk.getByRole('menuitem', { name: 'Mute' }).click();
  await until(() => here.agentmux('config', 'show')['web.muted']?.value?.length === 1 || JSON.stringify(here.agentmux('config', 'show')).includes(uidOf(here, 'fay')), 'the server knows it');
});

promise('the letter of an agent is answered where it stands, and one that was dismissed by mistake comes back', async (here) => {
  const page = await here.visit();
  here.agentmux('send', 'operator', '-m', 'first letter');
  const letter = page.locator('main li.mail', { hasText: 'first letter' });
  await letter.getByRole('button', { name: 'Got it' }).click();
  await letter.waitFor({ state: 'detached' });
  await page.getByRole('button', { name: 'Undo' }).click();
  await letter.waitFor();
  await letter.focus();
  await page.keyboard.press('e');
  await letter.waitFor({ state: 'detached' });
  await until(() => here.agentmux('inbox').length === 0, 'its sender is told when the undo is over');
});

promise('keys walk the inbox: whoever answered one stands on the next', async (here) => {
  for (const name of ['a1', 'a2', 'a3']) here.agentmux('new', name, '--agent', 'fake');
  const page = await here.visit();
  for (const name of ['a1', 'a2', 'a3']) await here.later('send', name, '-m', 'ask');
  const rows = page.locator('main li.need');
  await until(async () => (await rows.count()) === 3, 'three ask');
  await page.keyboard.press('j');
  for (let left = 2; left >= 0; left -= 1) {
    await page.keyboard.press(left === 1 ? 'd' : 'a');
    await until(async () => (await rows.count()) === left, `${left} left`);
    if (left) await until(() => page.evaluate(() => document.activeElement?.matches('main li.need')), 'the focus is on the next');
  }
  // What a key could not do moves nobody later: a permission is not dismissed.
  for (const name of ['a1', 'a2']) await here.later('send', name, '-m', 'ask');
  await until(async () => (await rows.count()) === 2, 'two ask');
  await rows.first().focus();
  await page.keyboard.press('e');
  await page.evaluate(() => document.activeElement.blur());
  here.agentmux('approve', (await rows.nth(1).getAttribute('data-key')).split(' ')[1]);
  await until(async () => (await rows.count()) === 1, 'the other was answered elsewhere');
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => setTimeout(done))));
  assert.equal(await page.evaluate(() => document.activeElement === document.body), true);
});

promise('the list is filtered by words with a place, ordered by keys on every device, and says what each said last', async (here) => {
  for (const name of ['one', 'two', 'six']) here.agentmux('new', name, '--agent', 'fake');
  for (let i = 0; i < 4; i += 1) here.agentmux('new', `off${i}`, '--agent', 'fake', '--no-start-agent');
  const [a, b] = [await here.visit(), await here.visit()];
  await here.later('send', 'two', '-m', 'hold', '--wait', 'begun');
  await here.later('send', 'one', '-m', 'say:3', '--wait', 'acked');
  const names = (page) => page.locator('aside .list li .name').allInnerTexts();
  await a.getByRole('link', { name: /one.*done 1/ }).waitFor();
  const filter = a.getByRole('searchbox', { name: /Filter agents/ });
  await filter.fill('state:working');
  await until(async () => (await names(a)).join() === 'two', 'those that work');
  await filter.fill('-state:offline -two');
  await until(async () => (await names(a)).join() === 'one,six', 'those that are not');
  await filter.press('Escape');
  const before = await names(b);
  await a.getByRole('link', { name: /six/ }).focus();
  await a.keyboard.press('Alt+ArrowUp');
  await until(async () => {
    const now = await names(b);
    return now.indexOf('six') === before.indexOf('six') - 1;
  }, 'the order in the other browser');
  assert.ok(await a.evaluate(() => document.activeElement?.textContent?.includes('six')), 'the focus stays with it');
  await b.locator('aside li', { hasText: 'two' }).first().hover();
  await b.getByRole('button', { name: 'Write to two' }).click();
  await b.getByRole('textbox', { name: 'Write to two' }).fill('hello');
  await b.getByRole('textbox', { name: 'Write to two' }).press('Enter');
  await b.getByRole('region', { name: 'Notices' }).getByText('Sent to two@default').waitFor();
});

promise.alone('two hundred agents are listed and filtered without a wait', async (here) => {
  for (let i = 0; i < 200; i += 1) here.agentmux('new', `s${i}`, '--agent', 'fake', '--no-start-agent');
  const page = await here.visit();
  await page.locator('aside li', { hasText: 's199' }).first().waitFor({ state: 'attached' });
  const filter = (by) =>
    page.evaluate(async (words) => {
      const field = document.querySelector('aside input[type=search]');
      const from = performance.now();
      field.value = words;
      field.dispatchEvent(new Event('input'));
      await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
      return performance.now() - from;
    }, by);
  const took = await least(500, async () => {
    await filter('');
    return await filter('s19 kind:fake');
  });
  console.log(`      filter of 200: ${Math.round(took)} ms`);
  assert.ok(took < 500);
  assert.equal(await page.locator('aside li .name').count(), 11);
});

promise('/ completes what the CLI takes and what we do, @ completes files of its directory', async (here) => {
  const work = join(here.root, 'work');
  mkdirSync(join(work, 'src'), { recursive: true });
  writeFileSync(join(work, 'src', 'Composer.svelte'), 'x');
  writeFileSync(join(work, 'made.log'), 'x');
  writeFileSync(join(work, '.gitignore'), '*.log\n');
  execFileSync('git', ['init', '-q'], { cwd: work });
  here.agentmux('new', 'fay', '--agent', 'fake');
  const page = await here.visit({ hash: `#/agent/${uidOf(here, 'fay')}` });
  const field = page.getByRole('textbox', { name: 'Message fay' });
  await field.pressSequentially('/rev');
  await page.getByRole('option', { name: '/review' }).waitFor();
  await field.press('Tab');
  assert.equal(await field.inputValue(), '/review ');
  await field.pressSequentially('@comp');
  await page.getByRole('option', { name: 'src/Composer.svelte' }).waitFor();
  await field.press('Enter');
  assert.equal(await field.inputValue(), '/review @src/Composer.svelte ');
  await field.fill('');
  await field.pressSequentially('@made');
  await page.getByRole('option').first().waitFor({ state: 'detached' });
  assert.equal(await page.getByRole('option').count(), 0, 'what git ignores is not named');
  await field.fill('');
  await field.pressSequentially('/hold');
  await page.getByRole('option', { name: /hold.*agentmux/ }).waitFor();
  await field.press('Enter');
  await page.getByText('its mail is held').waitFor();
  assert.equal(await field.inputValue(), '');
  assert.equal(await page.locator('[data-node]', { hasText: '/hold' }).count() + here.agentmux('queue', 'fay').length, 0, 'it was done and not sent');
});

promise('a queue is paused, and ordered by dragging, for everybody', async (here) => {
  here.agentmux('new', 'fay', '--agent', 'fake');
  here.agentmux('mail', 'fay', '--while-working', 'turn-end');
  const page = await here.visit({ hash: `#/agent/${uidOf(here, 'fay')}` });
  const field = page.getByRole('textbox', { name: 'Message fay' });
  await field.fill('hold');
  await field.press('Enter');
  await page.getByRole('button', { name: 'Queue', exact: true }).waitFor();
  const queue = page.getByRole('region', { name: 'Waiting for fay' });
  for (const word of ['red', 'green', 'blue']) {
    await field.fill(word);
    await field.press('Enter');
    await queue.getByText(word).waitFor();
  }
  const order = () => queue.locator('li .body').allInnerTexts().then((all) => all.join());
  const onServer = () => here.agentmux('queue', 'fay').map((one) => one.body ?? one.message?.body).join();
  assert.equal(await order(), 'red,green,blue');
  await queue.getByText('blue').dragTo(queue.getByText('red'));
  await until(async () => (await order()) === 'blue,red,green', 'blue is the first');
  assert.equal(onServer(), 'blue,red,green');
  await queue.getByText('blue').dragTo(queue.getByText('green'));
  await until(async () => (await order()) === 'red,green,blue', 'and the last again');
  await queue.getByRole('button', { name: 'Pause queue' }).click();
  await queue.getByText('its mail is held').waitFor();
  await page.getByRole('button', { name: 'Stop' }).click();
  await page.getByText('Interrupted', { exact: true }).waitFor();
  assert.equal(await order(), 'red,green,blue');
  await queue.getByRole('button', { name: 'Deliver again' }).click();
  await queue.waitFor({ state: 'detached' });
});

promise('older messages come back with the arrow on the first line, and what was not sent is not lost', async (here) => {
  here.agentmux('new', 'fay', '--agent', 'fake');
  const page = await here.visit({ hash: `#/agent/${uidOf(here, 'fay')}` });
  const field = page.getByRole('textbox', { name: 'Message fay' });
  for (const word of ['say:1', 'say:2']) {
    await field.fill(word);
    await field.press('Enter');
    await until(async () => (await field.inputValue()) === '', 'sent');
    await field.press('ArrowUp');
    assert.equal(await field.inputValue(), word, 'also while it is on its way');
    await field.press('ArrowDown');
    await page.getByText(`done ${word.slice(-1)}`).first().waitFor();
  }
  await field.fill('half\na thought');
  await field.press('ArrowUp');
  assert.equal(await field.inputValue(), 'half\na thought', 'on the second line it goes up a line');
  await field.press('Control+Home');
  await field.press('ArrowUp');
  assert.equal(await field.inputValue(), 'say:2');
  await field.press('ArrowUp');
  assert.equal(await field.inputValue(), 'say:1');
  await field.press('ArrowDown');
  await field.press('ArrowDown');
  assert.equal(await field.inputValue(), 'half\na thought');
  // The keys are swapped: Enter is a line then.
  await page.getByRole('button', { name: /Enter sends/ }).click();
  await field.fill('one');
  await field.press('Enter');
  await field.pressSequentially('two');
  assert.equal(await field.inputValue(), 'one\ntwo');
  await field.press('Shift+Enter');
  await until(async () => (await field.inputValue()) === '', 'sent with Shift');
});

promise('a pane is dragged to an edge and to a stack, torn off to a window, and what two devices changed at once holds', async (here) => {
  here.agentmux('new', 'one', '--agent', 'fake');
  here.agentmux('new', 'two', '--agent', 'fake');
  const page = await here.visit({ hash: `#/agent/${uidOf(here, 'one')}` });
  await page.getByRole('button', { name: 'More for one' }).last().click();
  await page.getByRole('menuitem', { name: 'Open in a split' }).click();
  const panes = page.locator('[data-pane]');
  await panes.first().waitFor();
  const row = page.locator('aside li', { hasText: 'two' }).first();
  await row.dragTo(panes.first(), { targetPosition: { x: 300, y: 300 } });
  await until(async () => (await panes.count()) === 1 && (await panes.locator('header .title').count()) === 2, 'two in a stack');
  await panes.locator('header .title', { hasText: 'two' }).dragTo(panes.first(), { targetPosition: { x: 5, y: 300 } });
  await until(async () => (await panes.count()) === 2, 'one at the left edge');
  await row.dragTo(panes.first(), { targetPosition: { x: 100, y: 5 } });
  await until(async () => (await panes.count()) === 3, 'an agent of the list above it');
  await page.getByRole('button', { name: 'Close', exact: true }).first().click();
  await until(async () => (await panes.count()) === 2, 'and closed again');
  const bar = page.getByRole('separator');
  const box = await bar.boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + 200);
  await page.mouse.down();
  await page.mouse.move(box.x + 100, box.y + 200, { steps: 4 });
  await page.mouse.up();
  const left = () => panes.evaluateAll((all) => Math.min(...all.map((one) => one.offsetLeft + one.offsetWidth)));
  const moved = await left();
  await until(async () => (await left()) >= moved, 'the border is where it was let go');
  const [window] = await Promise.all([
    page.context().waitForEvent('page'),
    (async () => {
      await panes.last().locator('> header').getByRole('button', { name: /^More for/ }).click();
      await page.getByRole('menuitem', { name: 'Tear off to a window' }).click();
    })(),
  ]);
  await window.locator('[data-pane]').waitFor();
  await until(async () => (await panes.count()) === 1, 'it is gone here');
});

promise('on a phone a swipe goes between the panes of a tab, and nothing is wider than the screen', async (here) => {
  here.agentmux('new', 'one', '--agent', 'fake');
  here.agentmux('new', 'two', '--agent', 'fake');
  const desk = await here.visit({ hash: `#/agent/${uidOf(here, 'one')}` });
  for (const name of ['one', 'two']) {
    await desk.evaluate((hash) => (location.hash = hash), `#/agent/${uidOf(here, name)}`);
    await desk.locator('main').getByRole('button', { name: `More for ${name}` }).click();
    await desk.getByRole('menuitem', { name: 'Open in a split' }).click();
    await desk.locator('[data-pane]').first().waitFor();
  }
  await until(async () => (await desk.locator('[data-pane]').count()) === 2, 'two panes');
  const hash = await desk.evaluate(() => location.hash);
  const phone = await here.visit({ width: 320, height: 640, phone: true, hash });
  const shown = () => phone.locator('[data-pane]').getAttribute('aria-label');
  await phone.locator('[data-pane]').waitFor();
  const first = await shown();
  const swipe = (from, to) =>
    phone.evaluate(
      ([from, to]) => {
        const target = document.querySelector('[data-pane] .content');
        const touch = (x) => new Touch({ identifier: 1, target, clientX: x, clientY: 300 });
        target.dispatchEvent(new TouchEvent('touchstart', { bubbles: true, touches: [touch(from)], changedTouches: [touch(from)] }));
        target.dispatchEvent(new TouchEvent('touchend', { bubbles: true, touches: [], changedTouches: [touch(to)] }));
      },
      [from, to],
    );
  await swipe(first === 'one@default' ? 280 : 40, first === 'one@default' ? 40 : 280);
  await until(async () => (await shown()) !== first, 'the other pane');
  for (const at of ['#/inbox', '#/agents', '#/messages', hash, `#/agent/${uidOf(here, 'one')}`]) {
    await phone.evaluate((to) => (location.hash = to), at);
    await phone.locator('main').waitFor();
    assert.ok(await phone.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${at} is wider than the screen`);
  }
  await here.later('send', 'one', '-m', 'ask');
  await phone.evaluate(() => (location.hash = '#/inbox'));
  const allow = phone.locator('main li.need [data-answer=allow_once]');
  await allow.waitFor();
  const size = await allow.boundingBox();
  assert.ok(size.height >= 44 && size.width >= 120, JSON.stringify(size));
});

promise('of two tabs one notifies, in the words of the server’s policy, and takes it back when it is answered elsewhere', async (here) => {
  here.agentmux('new', 'fay', '--agent', 'fake');
  const context = await here.browser.newContext({ permissions: ['notifications'], serviceWorkers: 'block' });
  await context.addInitScript(() => {
    window.told = [];
    window.Notification = class {
      static permission = 'granted';
      constructor(title, options) {
        Object.assign(this, { title, ...options, open: true });
        window.told.push(this);
      }
      close() {
        this.open = false;
      }
    };
    // The page before the first has no storage.
    if (location.protocol === 'http:') localStorage.setItem('agentmux.notify', 'true');
  });
  const tabs = [await context.newPage(), await context.newPage()];
  await tabs[0].goto(`${here.url()}/#code=${await here.code()}`);
  await tabs[0].getByRole('link', { name: /Inbox/ }).first().waitFor();
  await tabs[1].goto(`${here.url()}/#/system`);
  await tabs[0].evaluate(() => (location.hash = '#/events'));
  for (const tab of tabs) await tab.locator('aside').getByRole('link', { name: /fay/ }).waitFor();
  const told = async () => (await Promise.all(tabs.map((tab) => tab.evaluate(() => window.told.map(({ title, body, open, silent }) => ({ title, body, open, silent })))))).flat();
  await here.later('send', 'fay', '-m', 'ask');
  const [note] = await until(async () => ((await told()).length ? told() : null), 'it is told');
  assert.equal(note.title, 'fay@default');
  assert.match(note.body, /touch 1/);
  assert.equal(note.silent, false);
  for (const tab of tabs) await tab.getByRole('link', { name: /waiting for you: 1/ }).waitFor();
  assert.equal((await told()).length, 1, 'by one of them');
  const [{ id }] = here.agentmux('requests');
  here.agentmux('approve', id);
  await until(async () => (await told()).every((one) => !one.open), 'it is taken back');
  // Whoever looks at the inbox in any tab is not told.
  await tabs[1].evaluate(() => (location.hash = '#/inbox'));
  await tabs[1].bringToFront();
  await until(() => tabs[0].evaluate(async () => (await navigator.locks.query()).held.some(({ name }) => name === 'agentmux.looks inbox')), 'one looks');
  await here.later('send', 'fay', '-m', 'ask');
  await tabs[1].locator('main li.need').waitFor();
  assert.equal((await told()).length, 1);
  // Nor is who has the agent in a pane in front of them.
  const answer = async () => {
    here.agentmux('approve', here.agentmux('requests')[0].id);
    for (const tab of tabs) await until(async () => (await tab.title()) === 'agentmux', 'nothing waits');
  };
  const ask = async () => {
    await here.later('send', 'fay', '-m', 'ask');
    for (const tab of tabs) await until(async () => (await tab.title()) === '(1) agentmux', 'it waits');
  };
  const looks = () => tabs[0].evaluate(async () => (await navigator.locks.query()).held.filter(({ name }) => name.startsWith('agentmux.looks ')).map(({ name }) => name.split(' ')[1]));
  await answer();
  here.agentmux('workspace', 'create', 'main');
  here.agentmux('tab', 'create', 'main', '--name', 'work');
  const { id: work } = here.agentmux('tab', 'ls')[0];
  here.agentmux('pane', 'open', '--agent', 'fay', '--tab', work);
  await tabs[1].evaluate((id) => (location.hash = `#/tab/${id}`), work);
  await until(async () => (await looks()).join() === uidOf(here, 'fay'), 'one looks at its pane');
  await ask();
  assert.equal((await told()).length, 1);
  await answer();
  // What one tab is told holds in the one that notifies.
  await tabs[1].evaluate(() => (location.hash = '#/system'));
  await until(async () => (await looks()).length === 0, 'nobody looks');
  await tabs[1].evaluate(() => localStorage.setItem('agentmux.notify', 'false'));
  await ask();
  await answer();
  assert.equal((await told()).length, 1);
  await tabs[1].evaluate(() => localStorage.setItem('agentmux.notify', 'true'));
  await ask();
  await until(async () => (await told()).length === 2, 'it is told again');
  await context.close();
});

promise('the raw frames are what crossed the pipes of an agent, and come by themselves while it works', async (here) => {
  here.agentmux('new', 'live', '--agent', 'fake');
  for (let n = 0; n < 60; n += 1) await here.later('send', 'live', '-m', `say:3 straw-${n}.`, '--wait', 'acked');
  const page = await here.visit({ hash: `#/agent/${uidOf(here, 'live')}` });
  await page.getByRole('article').getByRole('button', { name: 'More for live' }).click();
  await page.getByRole('menuitemcheckbox', { name: 'Raw frames' }).click();
  const raw = page.getByRole('region', { name: 'Raw frames of live' });
  const told = (text) => raw.locator('.has-copy', { hasText: text }).filter({ has: page.locator('.told') });
  await told('straw-59.').waitFor();
  await until(() => raw.evaluate((box) => box.scrollTop > 0 && box.scrollHeight - box.scrollTop - box.clientHeight < 40), 'the newest is before the eyes');
  // What comes while it is looked at, both ways and in their order.
  await here.later('send', 'live', '-m', 'a word to be seen');
  await told('a word to be seen').waitFor();
  const ways = await raw.locator('.way').allInnerTexts();
  assert.ok(ways.includes('told') && ways.includes('said'), ways.join());
  // A line is opened by a key, as the tree it is, and taken along whole.
  const one = told('a word to be seen');
  await one.locator('summary').first().focus();
  await page.keyboard.press('Enter');
  await one.locator('.name', { hasText: 'message' }).first().waitFor();
  await one.locator('summary').first().focus();
  await page.keyboard.press('Enter');
  await one.locator('.whole').waitFor({ state: 'detached' });
  // The way back, to the first line there was.
  const dir = join(here.root, 'state', 'tapes', uidOf(here, 'live'), '1');
  const lines = (name) => readFileSync(join(dir, name), 'utf8').trimEnd().split('\n');
  await until(() => here.agentmux('ls', '--all')[0].state === 'idle', 'it rests');
  const shown = async () => (await page.getByRole('status').filter({ hasText: 'of run 1' }).innerText()).match(/^(\d+)/)[1];
  const [printed, written] = [lines('out.000000000000000'), lines('in').map((line) => JSON.parse(line)).filter((record) => record.r === 'write').map((record) => record.line)];
  assert.ok(Number(await shown()) < printed.length + written.length, 'at first a page of them');
  const earlier = raw.getByRole('button', { name: 'Earlier frames' });
  await until(async () => (await earlier.count()) === 0 || earlier.click({ timeout: 1000 }).then(() => false, () => false), 'nothing is earlier');
  await until(async () => Number(await shown()) === printed.length + written.length, 'all are shown');
  await page.getByText(/of run 1, which is all/).waitFor();
  const texts = (way) => raw.locator('.has-copy', { has: page.locator(`.${way}`) }).locator('summary > code').allTextContents();
  const brief = (line) => (line.length > 600 ? `${line.slice(0, 600)}…` : line);
  assert.deepEqual(await texts('said'), printed.map(brief));
  assert.deepEqual(await texts('told'), written.map(brief));
  await page.getByLabel('Search in the raw frames').fill('STRAW-3.');
  await page.keyboard.press('Enter');
  await told('straw-3.').first().waitFor();
  assert.equal(await told('straw-59.').count(), 0);
  await page.getByRole('button', { name: 'Entries' }).click();
  await page.getByRole('region', { name: 'Raw entries of live' }).waitFor();
});

promise('a page says when the server has other pages by now, and is loaded anew by a click', async (here) => {
  const page = await here.visit();
  await page.getByText('No agents yet').first().waitFor();
  const old = page.getByText('another version than this page');
  const later = (route) => route.fulfill({ contentType: 'text/html', body: '<script type="module" src="/assets/index-later.js"></script>' });
  const isRoot = (url) => url.pathname === '/';
  await page.route(isRoot, later);
  here.agentmux('server', 'restart');
  await old.waitFor();
  await page.unroute(isRoot, later);
  here.agentmux('server', 'restart');
  await old.waitFor({ state: 'detached' });
  await page.route(isRoot, later);
  here.agentmux('server', 'restart');
  await old.waitFor();
  await page.unroute(isRoot, later);
  await page.getByRole('button', { name: 'Reload' }).click();
  await old.waitFor({ state: 'detached' });
  await page.getByRole('link', { name: /Inbox/ }).first().waitFor();
});
