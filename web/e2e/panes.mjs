// Tabs and tiles: by mouse, by keys, by menu, on a phone; shared by everybody who looks.
import assert from 'node:assert/strict';
import { alone } from './browser.mjs';
import { promise, until } from './world.mjs';

/** A tab with these agents side by side, made as a script would; the address of it. */
export async function tab(here, ...names) {
  here.agentmux('workspace', 'create', 'main');
  here.agentmux('tab', 'create', 'main', '--name', 'work');
  const { id } = here.agentmux('tab', 'ls')[0];
  for (const name of names) here.agentmux('pane', 'open', '--agent', name, '--tab', id);
  return `#/tab/${id}`;
}

/** Panes by their title, in percent of the field. */
const boxes = (page) =>
  page.evaluate(() => {
    const field = document.querySelector('.field').getBoundingClientRect();
    const share = (px, of) => Math.round((100 * px) / of);
    return Object.fromEntries([...document.querySelectorAll('[data-pane]')].map((pane) => {
      const box = pane.getBoundingClientRect();
      return [pane.getAttribute('aria-label').split('@')[0], [share(box.left - field.left, field.width), share(box.top - field.top, field.height), share(box.width, field.width), share(box.height, field.height)]];
    }));
  });
const until_boxes = async (page, want, what) => {
  let last;
  try {
    await until(async () => JSON.stringify((last = await boxes(page))) === JSON.stringify(want), what);
  } catch (error) {
    throw new Error(`${error.message}: ${JSON.stringify(last)}`);
  }
};
const pane = (page, name) => page.locator(`[data-pane][aria-label^="${name}@"]`);
const grip = (page, name) => pane(page, name).locator('header .title').first();

function three(here) {
  for (const name of ['one', 'two', 'three']) here.agentmux('new', name, '--agent', 'fake', '--no-start-agent');
}

promise('a pane is dragged to any zone of another, and what was dropped there is there for everybody', async (here) => {
  three(here);
  const hash = await tab(here, 'one', 'two');
  const [page, other] = [await here.visit({ hash }), await here.visit({ hash })];
  await pane(page, 'two').waitFor();
  const at = async (x, y) => {
    const box = await pane(page, 'one').boundingBox();
    return { x: box.width * x, y: box.height * y };
  };
  const row = { one: [0, 0, 50, 100], two: [50, 0, 50, 100] };
  for (const [x, y, want] of [
    [0.5, 0.9, { one: [0, 0, 100, 50], two: [0, 50, 100, 50] }],
    [0.5, 0.1, { two: [0, 0, 100, 50], one: [0, 50, 100, 50] }],
    [0.05, 0.5, { two: [0, 0, 50, 100], one: [50, 0, 50, 100] }],
    [0.95, 0.5, row],
  ]) {
    await grip(page, 'two').dragTo(pane(page, 'one'), { targetPosition: await at(x, y) });
    await until(async () => JSON.stringify(sort(await boxes(page))) === JSON.stringify(sort(want)), `dropped at ${x} ${y}`);
    await until(async () => JSON.stringify(sort(await boxes(other))) === JSON.stringify(sort(want)), `the same in the other browser`);
  }
  // In the middle they are one pile, of which one is seen.
  await grip(page, 'two').dragTo(pane(page, 'one'), { targetPosition: await at(0.5, 0.5) });
  await until(async () => (await page.locator('[data-pane]').count()) === 1, 'one pile');
  assert.equal(await page.locator('[data-pane] header .title').count(), 2);
});
const sort = (all) => Object.fromEntries(Object.entries(all).sort(([a], [b]) => (a < b ? -1 : 1)));

promise('an agent is dragged from the list to an edge of a pane', async (here) => {
  three(here);
  const page = await here.visit({ hash: await tab(here, 'one') });
  await pane(page, 'one').waitFor();
  const box = await pane(page, 'one').boundingBox();
  await page.locator('aside').getByRole('link', { name: /three/ }).dragTo(pane(page, 'one'), { targetPosition: { x: box.width * 0.95, y: box.height / 2 } });
  await until_boxes(page, { one: [0, 0, 50, 100], three: [50, 0, 50, 100] }, 'beside it');
});

promise('what a mouse drags a menu does as well: every edge, and onto another pane', async (here) => {
  three(here);
  const page = await here.visit({ hash: await tab(here, 'one', 'two') });
  await pane(page, 'two').waitFor();
  const menu = async (name, item) => {
    await pane(page, name).getByRole('button', { name: `More for ${name}` }).first().click();
    await page.getByRole('menuitem', { name: item }).click();
  };
  for (const [item, want] of [
    ['To the upper edge', { one: [0, 50, 100, 50], two: [0, 0, 100, 50] }],
    ['To the left edge', { one: [50, 0, 50, 100], two: [0, 0, 50, 100] }],
    ['To the lower edge', { one: [0, 0, 100, 50], two: [0, 50, 100, 50] }],
    ['To the right edge', { one: [0, 0, 50, 100], two: [50, 0, 50, 100] }],
  ]) {
    await menu('two', item);
    await until(async () => JSON.stringify(sort(await boxes(page))) === JSON.stringify(want), item);
  }
  await menu('two', /^Stack with one/);
  await until(async () => (await page.locator('[data-pane]').count()) === 1, 'one pile');
});

promise('a border moves by mouse and by arrow keys; others see where it was left', async (here) => {
  three(here);
  const hash = await tab(here, 'one', 'two');
  const [page, other] = [await here.visit({ hash }), await here.visit({ hash })];
  const asked = [];
  await alone(page);
  page.on('websocket', (socket) => socket.on('framesent', ({ payload }) => /layout\.resize/.test(String(payload)) && asked.push(payload)));
  await page.reload();
  await pane(page, 'two').waitFor();
  const border = page.getByRole('separator');
  const box = await border.boundingBox();
  const field = await page.locator('.tiles > .field').boundingBox();
  const share = async (of) => (await boxes(of)).one[2];
  await page.mouse.move(box.x + box.width / 2, box.y + 200);
  await page.mouse.down();
  for (let i = 1; i <= 8; i += 1) await page.mouse.move(box.x + box.width / 2 + (i / 8) * 0.2 * field.width, box.y + 200 + i);
  await until(async () => (await share(page)) === 70, 'it goes with the pointer');
  assert.equal(await share(other), 50, 'until it is left there is nothing to see elsewhere');
  await page.mouse.up();
  await until(async () => (await share(other)) === 70, 'the others follow');
  assert.equal(asked.length, 1, 'one order for a whole drag');
  assert.equal(await border.getAttribute('aria-valuenow'), '70');
  await border.focus();
  await page.keyboard.press('ArrowLeft');
  await until(async () => (await share(other)) === 66, 'a step by key');
  // Nobody pushes a pane out of the window.
  for (let i = 0; i < 30; i += 1) await page.keyboard.press('ArrowRight');
  await until(async () => (await share(other)) === 92, 'the end of the way');
  await border.dblclick();
  await until(async () => (await share(other)) === 50, 'even again');
});

promise('two who move one border at once end with the same layout, and nobody is left with what did not happen', async (here) => {
  three(here);
  const hash = await tab(here, 'one', 'two');
  const [a, b] = [await here.visit({ hash }), await here.visit({ hash })];
  const share = async (of) => (await boxes(of)).one?.[2];
  for (const page of [a, b]) {
    await pane(page, 'two').waitFor();
    await page.getByRole('separator').focus();
  }
  for (let i = 0; i < 6; i += 1) await Promise.all([a.keyboard.press('ArrowRight'), b.keyboard.press(i % 2 ? 'ArrowRight' : 'ArrowLeft')]);
  const sizes = () => {
    const text = JSON.stringify(here.agentmux('layout', 'show'));
    const [, first, second] = /"size":(\d+)[\s\S]*?"size":(\d+)/.exec(text);
    return Math.round((100 * first) / (Number(first) + Number(second)));
  };
  await until(async () => (await share(a)) === sizes() && (await share(b)) === sizes(), 'both show what the server has');
});

promise('a pane is torn off into a window of its own and leaves its tab', async (here) => {
  three(here);
  const page = await here.visit({ hash: await tab(here, 'one', 'two') });
  await pane(page, 'two').waitFor();
  await pane(page, 'two').getByRole('button', { name: 'More for two' }).first().click();
  const [window] = await Promise.all([page.context().waitForEvent('page'), page.getByRole('menuitem', { name: 'Tear off to a window' }).click()]);
  await pane(window, 'two').waitFor();
  assert.equal(await window.locator('[data-pane]').count(), 1);
  assert.equal(await window.evaluate(() => window.opener), null);
  await until_boxes(page, { one: [0, 0, 100, 100] }, 'the other fills the tab');
  // What is torn off is a workspace of its own: its tabs are not among those of the first.
  assert.equal(await window.getByRole('group', { name: 'Tabs' }).locator('.tab').count(), 1);
});

/** Quick by its own clock, however slow the machine is. */
export async function swipe(page, by, y = 150) {
  const cdp = await page.context().newCDPSession(page);
  const from = by < 0 ? 300 : 60;
  const began = Date.now() / 1000;
  const touch = (type, step) => cdp.send('Input.dispatchTouchEvent', { type, timestamp: began + step * 0.02, touchPoints: type === 'touchEnd' ? [] : [{ x: from + (by * step) / 6, y }] });
  await touch('touchStart', 0);
  for (let step = 1; step <= 6; step += 1) await touch('touchMove', step);
  await touch('touchEnd', 7);
  await cdp.detach();
}

promise('on a phone a swipe goes between the panes of a tab, and between agents where there is none', async (here) => {
  three(here);
  const phone = await here.visit({ width: 360, height: 740, phone: true, hash: await tab(here, 'one', 'two', 'three') });
  const seen = (name) => pane(phone, name).waitFor();
  const order = await (async () => {
    await phone.getByRole('group', { name: 'Panes' }).waitFor();
    return (await phone.getByRole('group', { name: 'Panes' }).getByRole('button').allInnerTexts()).map((text) => text.split('@')[0]);
  })();
  assert.equal(order.length, 3);
  await phone.getByRole('group', { name: 'Panes' }).getByRole('button').first().tap();
  await seen(order[0]);
  assert.equal(await phone.locator('[data-pane]').count(), 1, 'one at a time');
  // Before the first there is nothing, and not what was seen before.
  const shown = await phone.evaluate(() => location.hash);
  for (const to of ['#/messages', shown]) await phone.evaluate((to) => (location.hash = to), to);
  await seen(order[0]);
  await swipe(phone, 240, 400);
  await swipe(phone, -200);
  await seen(order[1]);
  await swipe(phone, -200);
  await seen(order[2]);
  await swipe(phone, -200);
  await seen(order[2]);
  await swipe(phone, 200);
  await seen(order[1]);
  for (const name of ['one', 'two']) here.agentmux('start', name);
  await phone.evaluate((to) => (location.hash = to), `#/agent/${here.uid('one')}`);
  await phone.getByRole('heading', { name: /^one/ }).waitFor();
  await until(() => phone.evaluate(() => /idle/i.test(document.querySelector('.reason')?.textContent ?? '')), 'it runs');
  await swipe(phone, -200);
  await phone.getByRole('heading', { name: /^two/ }).waitFor();
});

promise('at 320 pixels and at twice the size no view is wider than the screen', async (here) => {
  three(here);
  const hash = await tab(here, 'one', 'two');
  for (const [width, zoom] of [[320, 1], [1280, 2]]) {
    const page = await here.visit({ width, height: 640, zoom });
    for (const to of ['#/inbox', '#/agents', `#/agent/${here.uid('one')}`, hash, '#/messages', '#/messages/graph', '#/new', '#/events', '#/system', '#/settings']) {
      await page.evaluate((to) => (location.hash = to), to);
      await until(() => page.evaluate(() => new Promise((done) => requestAnimationFrame(() => setTimeout(() => done(document.querySelector('.view')?.childElementCount > 0))))), to);
      assert.ok((await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)) <= 0, `${to} at ${width} × ${zoom}`);
    }
  }
});
