// Long things that are asked for, on a small screen: the answers are at hand, and all of it can be read before one is given.
import assert from 'node:assert/strict';
import { alone } from './browser.mjs';
import { promise, until } from './world.mjs';
import { serve } from './serve.mjs';
import { agents, mock, requests, uid } from './team.mjs';

const lines = (count, word) => Array.from({ length: count }, (_, n) => `${word} ${n + 1}`).join('\n');
const options = [
  { id: 'allow', label: 'Allow', kind: 'allow_once' },
  { id: 'always', label: 'Always allow it in this session', kind: 'allow_always' },
  { id: 'deny', label: 'Deny', kind: 'reject_once' },
];
const asked = (tool, subject, input) => ({ ...requests[0], title: `${tool}: ${subject}`, tool, subject, options, detail: JSON.stringify(input) });
const command = `${lines(319, 'echo line')}\nrm -rf "the very last"`;
const edits = Array.from({ length: 6 }, (_, n) => ({ old_string: lines(30, `was ${n}`), new_string: lines(30, `is ${n}`) }));
const CASES = {
  'a command': { ask: asked('Bash', command, { command, description: 'Prepares the folders' }), left: /… \d{3} more lines/, last: 'rm -rf "the very last"' },
  'one long line': { ask: asked('Bash', 'x', { command: `echo ${'word '.repeat(900)}theend` }), left: /… [234],\d{3} more characters/, last: 'theend' },
  'a change of many places': { ask: asked('Edit', 'src/cart/total.rs', { file_path: 'src/cart/total.rs', edits }), left: /… \d{3} more lines, 5 more changes/, last: 'is 5 30' },
  'a change of a long line': { ask: asked('Edit', 'a', { file_path: 'a', old_string: 'x', new_string: `${'word '.repeat(600)}theend` }), left: /… 1 more line/, last: /theend/ },
  'words that are no JSON': { ask: { ...asked('Shell', 'x', {}), title: 'Run a script', detail: lines(200, 'step') }, left: /… 1\d\d more lines/, last: 'step 200' },
};

const SIZES = { 'a small screen': { viewport: { width: 360, height: 640 }, isMobile: true, hasTouch: true }, 'a laptop': { viewport: { width: 1280, height: 720 } } };
for (const [size, options] of Object.entries(SIZES)) promise(`the answers to a long request are on ${size} without scrolling, and all of it can be read before one is given`, async (here) => {
  const site = await serve();
  const context = await here.browser.newContext(options);
  const page = await context.newPage();
  let server;
  let inDocument = [];
  await alone(page);
  await page.routeWebSocket(/\/v1\/stream/, (ws) => (server = mock({ more: () => inDocument })).serve(ws));
  await page.goto(`${site.url}/#/inbox`);
  await page.getByText('Which currency do refunds use?').first().waitFor();
  server.put([{ table: 'request', key: requests[1].id, row: null }]);
  const card = page.locator('.ask', { has: page.locator('[data-answer=allow_once]') }).first();
  /** Nothing scrolls, and every answer is under the finger. */
  const atHand = async (where) => {
    const hidden = await card.evaluate((card) => [...card.querySelectorAll('.options button')].filter((button) => {
      const { left, top, width, height } = button.getBoundingClientRect();
      return ![0.1, 0.9].every((part) => button.contains(document.elementFromPoint(left + width / 2, top + part * height)));
    }).map((button) => button.textContent.trim() || button.getAttribute('aria-label')));
    assert.deepEqual(hidden, [], where);
  };
  for (const [name, { ask, left, last }] of Object.entries(CASES)) {
    for (const [view, isInDocument] of [['#/inbox'], [`#/agent/${uid(2)}`], [`#/agent/${uid(2)}`, true]]) {
      inDocument = isInDocument ? [{ n: 1000, i: 0, offset: 100_000, at: new Date().toISOString(), item: { type: 'asked', ask } }] : [];
      await page.evaluate((to) => (location.hash = to), '#/system');
      server.put([{ table: 'agent', key: uid(2), row: { ...agents[1], rev: 100 } }, { table: 'request', key: requests[0].id, row: ask }]);
      await page.evaluate((to) => (location.hash = to), view);
      const more = card.getByRole('button', { name: 'Show more' });
      await more.getByText(left).waitFor();
      await page.evaluate(() => document.fonts.ready);
      const where = `${name} in ${view}${isInDocument ? ', where it was asked' : ''}`;
      assert.equal(await page.locator('.asked').count(), isInDocument ? 1 : 0);
      await atHand(where);
      const end = card.getByText(last).last();
      assert.equal(await end.count(), 0, `${where}: what is folded is not in the way`);
      await more.click();
      await card.getByRole('button', { name: 'Show less' }).waitFor();
      await atHand(`${where}, opened`);
      await card.locator('.wants').evaluate((box) => (box.scrollTop = box.scrollHeight));
      await until(() => end.evaluate((one) => {
        const { left, bottom } = one.getBoundingClientRect();
        return one.contains(document.elementFromPoint(left + 4, bottom - 6));
      }), `${where}: the end of it is seen`);
      const wide = await card.locator('.wants, .wants .rows').evaluateAll((boxes) => boxes.map((box) => box.scrollWidth - box.clientWidth));
      assert.ok(wide.every((px) => px === 0), `${where}: nothing stands beside the screen`);
      await atHand(`${where}, at its end`);
      await card.getByRole('button', { name: 'Show less' }).click();
      await more.waitFor();
    }
  }
  site.close();
});
