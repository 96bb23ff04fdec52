// Words that somebody began and did not send: they outlive the page and the server, and nothing that was sent or settled.
import assert from 'node:assert/strict';
import { promise, until } from './world.mjs';

const go = (page, hash) => page.evaluate((to) => (location.hash = to), hash);
const kept = (page) => page.evaluate(() => Object.keys(localStorage).filter((key) => /^agentmux\.(reply|quick|answer|letter|draft)\./.test(key)));

promise('half a reply, half a message with its addressee, half an answer and half a reason outlive a reload and a restart, and go when they are sent', async (here) => {
  for (const name of ['fay', 'quiz']) here.agentmux('new', name, '--agent', 'fake');
  here.agentmux('new', 'kay', '--agent', 'fake', '--no-start-agent');
  here.agentmux('send', 'kay', '-m', 'hello kay');
  here.agentmux('send', 'operator', '-m', 'a letter');
  const page = await here.visit();
  await here.later('send', 'fay', '-m', 'ask');
  await here.later('send', 'quiz', '-m', 'quiz');
  const reply = page.getByRole('textbox', { name: 'Reply', exact: true });
  const to = page.getByRole('combobox', { name: 'To' });
  const text = page.getByLabel('Text');
  const quick = page.getByRole('textbox', { name: /^Reply to/ });
  const answer = page.locator('main li.need', { hasText: 'quiz@default' }).getByRole('textbox', { name: 'Answer in your own words' }).first();
  const reason = page.getByRole('textbox', { name: 'Reason for denying' });
  const thread = async () => {
    await go(page, '#/messages');
    await page.getByRole('link', { name: /hello kay/ }).click();
    await reply.waitFor();
  };
  const letter = async () => {
    await go(page, '#/messages');
    await page.getByRole('button', { name: 'New message' }).click();
    await text.waitFor();
  };

  await page.getByRole('button', { name: 'Deny and say why…' }).click();
  assert.ok(await reason.evaluate((field) => field === document.activeElement), 'what was opened takes the keys');
  await reason.fill('half a reason');
  await answer.fill('half an answer');
  await quick.fill('half a line');
  await thread();
  await reply.fill('half a reply');
  await letter();
  await to.fill('kay');
  await to.press('Enter');
  await to.fill('fa');
  await text.fill('half a message');
  await page.getByLabel('Priority').selectOption('urgent');
  await page.getByLabel('Wants an answer').check();

  const all = async () => {
    await go(page, '#/inbox');
    await until(async () => (await reason.inputValue()) === 'half a reason', 'the reason');
    assert.deepEqual([await answer.inputValue(), await quick.inputValue()], ['half an answer', 'half a line']);
    assert.equal(await page.evaluate(() => document.activeElement === document.body || document.activeElement.closest('main') === null), true, 'nothing took the focus');
    await thread();
    assert.equal(await reply.inputValue(), 'half a reply');
    await letter();
    assert.deepEqual([await text.inputValue(), await to.inputValue(), await page.getByLabel('Priority').inputValue(), await page.getByLabel('Wants an answer').isChecked()], ['half a message', 'fa', 'urgent', true]);
    await page.getByRole('button', { name: 'Not to kay@default' }).waitFor();
    await to.press('Escape');
  };
  await page.reload();
  await all();
  here.agentmux('server', 'restart');
  await page.getByText('Reconnecting').waitFor({ state: 'detached' });
  await all();
  await page.reload();
  await all();

  await page.getByRole('button', { name: 'Not to kay@default' }).click();
  await to.fill('kay@default');
  await page.getByRole('button', { name: 'Send', exact: true }).click();
  await page.locator('.thread').getByText('half a message').waitFor();
  await thread();
  await reply.press('Enter');
  await until(async () => (await reply.inputValue()) === '', 'the reply was taken');
  await go(page, '#/inbox');
  await reason.press('Enter');
  await quick.press('Enter');
  await answer.press('Enter');
  await until(async () => (await kept(page)).length === 0, 'nothing is left of what was sent').catch(async () => assert.deepEqual(await kept(page), []));
  const sent = here.agentmux('inbox', '--agent', 'kay', '--all').map((mail) => mail.body);
  assert.deepEqual(sent.sort(), ['half a message', 'half a reply', 'hello kay']);
  await letter();
  assert.deepEqual([await text.inputValue(), await to.inputValue(), await page.getByLabel('Priority').inputValue()], ['', '', 'normal']);
});

promise('a reply that was on its way when the page closed is there again, and is dropped where it had arrived', async (here) => {
  here.agentmux('new', 'kay', '--agent', 'fake', '--no-start-agent');
  const { id } = here.agentmux('send', 'kay', '-m', 'hello kay');
  const page = await here.visit({ hash: '#/messages' });
  const reply = page.getByRole('textbox', { name: 'Reply', exact: true });
  await page.getByRole('link', { name: /hello kay/ }).click();
  await reply.fill('on its way');
  here.agentmux('server', 'stop');
  await page.getByText('Reconnecting').waitFor();
  await reply.press('Enter');
  await page.getByRole('button', { name: 'On its way' }).waitFor();
  assert.equal(await reply.inputValue(), '');
  await reply.fill('and more');
  // The page is gone before there is a server that it could come from again.
  const at = page.url();
  await page.goto('about:blank');
  here.agentmux('server', 'start');
  await page.goto(at);
  await reply.waitFor();
  await until(async () => (await reply.inputValue()) === 'on its way\n\nand more', 'both are there');
  here.agentmux('send', 'kay', '-m', 'hello again');
  // As a page leaves it that closed before it heard the answer.
  await page.evaluate((id) => {
    const [key] = Object.keys(localStorage).filter((key) => key.startsWith('agentmux.reply.'));
    localStorage.setItem(key, JSON.stringify({ going: 'hello kay', id, text: 'and more' }));
  }, id);
  await page.reload();
  await until(async () => (await reply.inputValue().catch(() => '')) === 'and more', 'what had arrived is not sent twice');
});

promise('a message whose page closed before it heard that it arrived is sent once', async (here) => {
  here.agentmux('new', 'kay', '--agent', 'fake', '--no-start-agent');
  here.agentmux('send', 'kay', '-m', 'arrived', '--key', 'first');
  const page = await here.visit({ hash: '#/messages' });
  // As such a page leaves it.
  await page.evaluate(() => localStorage.setItem('agentmux.letter.new', JSON.stringify({ to: ['kay@default'], body: 'arrived', key: 'first' })));
  await page.reload();
  await page.getByRole('button', { name: 'New message' }).click();
  await page.getByRole('button', { name: 'Send', exact: true }).click();
  await until(async () => (await kept(page)).length === 0, 'the message was taken');
  assert.deepEqual(here.agentmux('inbox', '--agent', 'kay', '--all').map((mail) => mail.body), ['arrived']);
});

promise('what was settled elsewhere needs no words any more, another window has the same ones, and whoever signs out leaves none', async (here) => {
  here.agentmux('new', 'fay', '--agent', 'fake');
  here.agentmux('new', 'kay', '--agent', 'fake', '--no-start-agent');
  here.agentmux('send', 'kay', '-m', 'hello kay');
  const [page, desk] = [await here.visit(), await here.visit()];
  await here.later('send', 'fay', '-m', 'ask');
  await page.getByRole('button', { name: 'Deny and say why…' }).click();
  await page.getByRole('textbox', { name: 'Reason for denying' }).fill('half a reason');
  const window = await page.context().newPage();
  await window.goto(`${here.url()}/#/inbox`);
  const same = window.getByRole('textbox', { name: 'Reason for denying' });
  await until(async () => (await same.inputValue().catch(() => '')) === 'half a reason', 'the other window');
  await same.fill('half a reason, and more');
  await until(async () => (await page.getByRole('textbox', { name: 'Reason for denying' }).inputValue()) === 'half a reason, and more', 'and back');
  assert.equal((await kept(page)).length, 1);
  await desk.locator('main li.need [data-answer=allow_once]').click();
  await until(async () => (await kept(page)).length === 0, 'it was decided elsewhere');

  await go(page, '#/messages');
  await page.getByRole('link', { name: /hello kay/ }).click();
  await page.getByRole('textbox', { name: 'Reply', exact: true }).fill('not for the next one');
  await page.getByRole('button', { name: 'New message' }).click();
  await page.getByLabel('Text').fill('nor this');
  assert.equal((await kept(page)).length, 2);
  await go(page, '#/settings');
  await page.getByRole('button', { name: 'Sign this browser out' }).click();
  await page.getByRole('heading', { name: 'Sign in to agentmux' }).waitFor();
  assert.deepEqual(await kept(page), []);
  await page.getByLabel('Link or code').fill(await here.code());
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('heading', { name: 'Settings' }).waitFor();
  await go(page, '#/messages');
  await page.getByRole('button', { name: 'New message' }).click();
  assert.equal(await page.getByLabel('Text').inputValue(), '');
});
