// A device that saves data: what goes over its wire, and what it shows of it.
import assert from 'node:assert/strict';
import { alone } from './browser.mjs';
import { promise, until } from './world.mjs';

const shownDoc = (page) => page.locator('[data-nodes]').evaluate((list) => [...list.children].map((node) => node.innerText.replace(/\d\d:\d\d:\d\d/g, 'T').replace(/\d+ (ms|s|m)\b/g, 'T')).join('\n'));
const shownTerminal = (page) => page.evaluate(() => document.querySelector('[data-terminal]')?.__text?.().trimEnd() ?? '');
const go = (page, hash) => page.evaluate((to) => (location.hash = to), hash);

/** Every frame of the connections that a page opens from now on. */
async function overhear(page) {
  const wire = { bytes: 0, text: 0, asked: [] };
  await alone(page);
  page.on('websocket', (socket) => {
    socket.on('framesent', ({ payload }) => typeof payload === 'string' && wire.asked.push(JSON.parse(payload)));
    socket.on('framereceived', ({ payload }) => {
      wire.bytes += payload.length;
      if (typeof payload !== 'string' || ['entries', 'screen', 'output'].some((key) => key in JSON.parse(payload))) wire.text += 1;
    });
  });
  wire.count = (what) => wire.asked.filter(what).length;
  return wire;
}

promise('a device that saves data is sent no text of agents or terminals until somebody asks, and misses none of it afterwards', async (here) => {
  here.agentmux('new', 'fay', '--agent', 'fake');
  here.agentmux('new', 'sh', '--agent', 'cmd', '--', 'sh', '-c', 'echo ready; read go; echo "got $go"; for i in $(seq 400); do echo "row $i"; [ $((i%20)) -ne 0 ] || sleep 0.05; done; echo END; exec cat');
  const [fay, sh] = [`#/agent/${here.uid('fay')}`, `#/agent/${here.uid('sh')}`];
  const page = await here.visit({ hash: '#/settings' });
  await page.getByRole('checkbox', { name: 'Data saver' }).check();
  const wire = await overhear(page);
  const other = await here.visit();
  const lively = await overhear(other);
  await Promise.all([page.reload(), other.reload()]);
  await Promise.all([go(page, fay), go(other, fay)]);
  const strip = page.getByText('Live text is off to save data.');
  await strip.waitFor();
  for (const one of [page, other]) await one.locator('[data-node]').first().waitFor();
  // What opened the page is the same for both.
  wire.bytes = lively.bytes = 0;
  const field = page.getByRole('textbox', { name: 'Message fay' });
  await field.fill(`${'say:60 sleep:5 '.repeat(150)}say:3`);
  await field.press('Enter');
  // The states of the board and the receipts go on.
  await page.locator('.sent', { hasText: 'say:60' }).getByText('done', { exact: true }).waitFor();
  await page.locator('header .reason').getByText('idle').waitFor();
  await other.locator('[data-nodes]').getByText('done 1', { exact: true }).waitFor();
  assert.equal(await page.locator('[data-nodes]').getByText('done 1', { exact: true }).count(), 0);
  assert.deepEqual([wire.text, wire.count((frame) => frame.follow || frame.view)], [0, 0]);
  assert.ok(lively.text > 5, `the other device was sent ${lively.text} frames of text`);
  console.log(`      a turn: ${wire.bytes} bytes, ${lively.bytes} where it is followed`);
  assert.ok(wire.bytes < lively.bytes / 3, `${wire.bytes} of ${lively.bytes}`);

  const asked = () => wire.count((frame) => frame.get === 'transcript');
  const before = asked();
  await page.getByRole('button', { name: 'Show what is new' }).click();
  await page.locator('[data-nodes]').getByText('done 1', { exact: true }).waitFor();
  await page.locator('.sent').waitFor({ state: 'detached' });
  assert.equal(asked(), before + 1, 'one question');
  // More than one question brings: the newest of it, and what is before that as the reader goes up.
  for (let i = 0; i < 25; i += 1) await here.later('send', 'fay', '-m', `say:4 number ${i}`, '--wait', 'acked');
  await page.getByRole('button', { name: 'Show what is new' }).click();
  await page.locator('[data-nodes]').getByText('done 26', { exact: true }).waitFor();
  await until(async () => (await shownDoc(other)).endsWith(await shownDoc(page)), 'no hole in it').catch(async () => assert.equal(await shownDoc(page), await shownDoc(other)));

  // Answered as always.
  await here.later('send', 'fay', '-m', 'ask say:3');
  await page.getByRole('group', { name: /^Answers/ }).locator('[data-answer=allow_once]').click();
  await until(() => here.agentmux('ls', '--all').find((agent) => agent.name === 'fay').state === 'idle', 'the answer was given');

  await go(page, sh);
  await until(async () => /ready/.test(await shownTerminal(page)), 'the screen as it is');
  await strip.waitFor();
  await page.locator('.xterm-helper-textarea').focus();
  await page.keyboard.type('Enter');
  await page.keyboard.press('Enter');
  await until(() => /END/.test(here.agentmux('look', 'sh').lines.join('\n')), 'the program went on');
  assert.equal(wire.text, 0, 'no frame of a terminal');
  await until(async () => {
    const show = page.getByRole('button', { name: 'Show what is new' });
    await show.click().catch(() => undefined);
    return /END/.test(await shownTerminal(page));
  }, 'what is new');
  assert.deepEqual([wire.text, wire.count((frame) => frame.follow || frame.view)], [0, 0]);

  // Back to live text, from the palette, in the middle of a turn: nothing is missing.
  await go(page, fay);
  await strip.waitFor();
  await here.later('send', 'fay', '-m', `${'say:50 sleep:30 '.repeat(20)}say:3`, '--wait', 'begun');
  await page.keyboard.press('Control+k');
  await page.keyboard.type('data saver off');
  await page.keyboard.press('Enter');
  await strip.waitFor({ state: 'detached' });
  await page.locator('[data-nodes]').getByText('done 28', { exact: true }).waitFor();
  await until(async () => (await shownDoc(other)).endsWith(await shownDoc(page)), 'the same document').catch(async () => assert.equal(await shownDoc(page), await shownDoc(other)));
  await Promise.all([go(page, sh), go(other, sh)]);
  await until(async () => /got Enter\s+row 1\n[\s\S]*row 400\s+END/.test((await shownTerminal(page)).replace(/ +$/gm, '')), 'all that it printed');
  await until(async () => (await shownTerminal(page)) === (await shownTerminal(other)), 'the same terminal');
});
