// Documents as they are read: nothing moves under the eyes, and what is shown is what there is, whenever one comes.
import assert from 'node:assert/strict';
import { promise, until } from './world.mjs';

/** Chance that can be had again: `E2E_SEED=7 npm run e2e -- random`. */
function chance() {
  const seed = Number(process.env.E2E_SEED) || Math.floor(Math.random() * 2 ** 31);
  console.log(`      seed ${seed}`);
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

const shownDoc = (page) => page.locator('[data-nodes]').evaluate((list) => [...list.children].map((node) => node.innerText.replace(/\d\d:\d\d:\d\d/g, 'T').replace(/\d+ (ms|s|m)\b/g, 'T')).join('\n'));
const shownTerminal = (page) => page.evaluate(() => document.querySelector('[data-terminal]')?.__text?.().trimEnd() ?? '');

promise('a page that was reloaded at random moments of a stream shows what a fresh page shows', async (here) => {
  const random = chance();
  here.agentmux('new', 'fay', '--agent', 'fake');
  here.agentmux('new', 'pty', '--agent', 'cmd', '--', 'sh', '-c', 'i=0; while [ $i -lt 1500 ]; do i=$((i+1)); printf "\\033[3%dmline %d\\033[0m\\n" $((i%8)) $i; [ $((i%10)) -ne 0 ] || sleep 0.03; done; echo END; cat');
  const hashes = { fay: `#/agent/${here.uid('fay')}`, pty: `#/agent/${here.uid('pty')}` };
  const pages = { fay: await here.visit({ hash: hashes.fay }), pty: await here.visit({ hash: hashes.pty }) };
  const words = Array.from({ length: 60 }, (_, i) => `say:${5 + Math.floor(random() * 40)} sleep:${20 + (i % 5) * 15}`).join(' ');
  const turn = here.later('send', 'fay', '-m', `${words} say:3`, '--wait', 'acked');
  let over = false;
  void turn.then(() => (over = true));
  for (let i = 0; i < 10 && !over; i += 1) {
    await new Promise((done) => setTimeout(done, 30 + random() * 400));
    const page = random() < 0.5 ? pages.fay : pages.pty;
    // A server that goes away in the middle is one of the moments.
    if (i === 5) process.kill(here.pid(), 'SIGKILL');
    // The pages come from the server, too; it is started again by whoever asks. A load that ends may be that of the browser's
    // own page, which says that nobody answers.
    const isOurs = () => page.evaluate(() => location.protocol !== 'chrome-error:');
    await until(() => page.reload().then(isOurs).catch(() => here.agentmux('server', 'status') && false), 'the page is there again');
  }
  await turn;
  await until(async () => /END/.test(await shownTerminal(pages.pty)), 'the end of the output');
  await until(async () => (await pages.fay.getByText('done 1', { exact: true }).count()) > 0, 'the end of the turn');
  const fresh = { fay: await here.visit({ hash: hashes.fay }), pty: await here.visit({ hash: hashes.pty }) };
  await until(async () => /END/.test(await shownTerminal(fresh.pty)), 'the end on a fresh page');
  await fresh.fay.getByText('done 1', { exact: true }).waitFor();
  await until(async () => (await shownDoc(pages.fay)) === (await shownDoc(fresh.fay)), 'the same document').catch(async () => assert.equal(await shownDoc(pages.fay), await shownDoc(fresh.fay)));
  // What scrolled away included. A terminal that has just opened is given its screen anew in the size that it turns out to have.
  const both = () => Promise.all([shownTerminal(pages.pty), shownTerminal(fresh.pty)]);
  await until(async () => (([was, is]) => was === is)(await both()), 'the same terminal').catch(async () => assert.equal(...(await both())));
});

promise('at any zoom a reader who scrolled up sees nothing move, at rest and while several agents go on', async (here) => {
  for (const name of ['fay', 'bo']) here.agentmux('new', name, '--agent', 'fake');
  await Promise.all(['fay', 'bo'].map(async (name) => {
    for (let i = 0; i < 18; i += 1) await here.later('send', name, '-m', `say:4 number ${i}\n\nof **many** with \`code\``, '--wait', 'acked');
  }));
  const hash = `#/agent/${here.uid('fay')}`;
  const pages = [];
  for (const zoom of [0.8, 0.9, 1, 1.25]) {
    const page = await here.visit({ hash, zoom, height: 560 });
    await page.getByText('done 18', { exact: true }).waitFor();
    await page.getByRole('log', { name: /fay/ }).hover();
    await page.mouse.wheel(0, -500);
    await page.getByRole('button', { name: 'To the end' }).waitFor();
    pages.push([zoom, page]);
  }
  for (const [, page] of pages) {
    await page.evaluate(async () => {
      const box = document.querySelector('[role=log]');
      // The wheel's own glide is over when it was in one place for a while.
      for (let same = 0, last = -1; same < 12; same = box.scrollTop === last ? same + 1 : 0) {
        last = box.scrollTop;
        await new Promise(requestAnimationFrame);
      }
      const node = [...document.querySelectorAll('[data-node]')].find((one) => one.getBoundingClientRect().top > box.getBoundingClientRect().top + 20);
      const from = node.getBoundingClientRect().top;
      window.drift = { most: 0, frames: 0 };
      const look = () => {
        window.drift.most = Math.max(window.drift.most, Math.abs(node.isConnected ? node.getBoundingClientRect().top - from : 9999));
        window.drift.frames += 1;
        requestAnimationFrame(look);
      };
      look();
    });
  }
  const drift = async (what) => {
    for (const [zoom, page] of pages) {
      const { most, frames } = await page.evaluate(() => window.drift);
      assert.ok(frames > 10, `${frames} frames were looked at`);
      assert.ok(most < 0.5, `${what}, at ${zoom}: ${most} px`);
    }
  };
  // A minute at rest, in all of them at once: the promise is of a time.
  await Promise.all(pages.map(([, page]) => page.evaluate(() => new Promise((done) => {
    const began = performance.now();
    const wait = () => (performance.now() - began > 60_000 && window.drift.frames > 120 ? done() : requestAnimationFrame(wait));
    wait();
  }))));
  await drift('at rest');
  await Promise.all(['fay', 'bo'].map(async (name) => {
    for (let i = 0; i < 6; i += 1) await here.later('send', name, '-m', 'say:40 sleep:40 say:40 sleep:40 say:40', '--wait', 'acked');
  }));
  for (const [, page] of pages) await page.getByRole('button', { name: /\d new/ }).waitFor();
  await drift('while they go on');
});

promise('what needs a person is notified once, not when it is looked at, and taken back when it is answered elsewhere', async (here) => {
  here.agentmux('new', 'fay', '--agent', 'fake');
  const page = await here.visit({
    permissions: ['notifications'],
    hash: '#/settings',
    init: () => {
      // A page that is not ours yet has no storage.
      if (location.protocol === 'http:') localStorage.setItem('agentmux.notify', 'true');
      window.notes = [];
      window.Notification = class {
        static permission = 'granted';
        static requestPermission = async () => 'granted';
        constructor(title, options) {
          Object.assign(this, { title, ...options, closed: false });
          window.notes.push(this);
        }
        close() {
          this.closed = true;
        }
      };
    },
  });
  const notes = () => page.evaluate(() => window.notes.map(({ title, body, closed }) => ({ title, body, closed })));
  // Before the board has come nothing is news.
  await page.getByRole('link', { name: /fay/ }).waitFor();
  await here.later('send', 'fay', '-m', 'ask');
  await until(async () => (await notes()).length === 1, 'a notification');
  assert.deepEqual(await notes(), [{ title: 'fay@default', body: (await notes())[0].body, closed: false }]);
  assert.match((await notes())[0].body, /touch 1/);
  // What was there before is no news to a page that opens.
  await page.reload();
  await until(async () => (await page.title()) === '(1) agentmux', 'the count');
  assert.deepEqual(await notes(), []);
  here.agentmux('approve', here.agentmux('requests')[0].id);
  await until(async () => (await page.title()) === 'agentmux', 'no count');
  await here.later('send', 'fay', '-m', 'ask');
  await until(async () => (await notes()).length === 1, 'a notification');
  here.agentmux('approve', here.agentmux('requests')[0].id);
  await until(async () => (await notes())[0].closed, 'it is taken back');
  // Who looks at it needs no word about it.
  await page.evaluate(() => (location.hash = '#/inbox'));
  await page.getByRole('heading', { name: 'Inbox' }).waitFor();
  await here.later('send', 'fay', '-m', 'ask');
  await page.locator('main li.need').getByText('touch 3').first().waitFor();
  assert.equal((await notes()).length, 1);
  // Nor does who does not want any.
  here.agentmux('approve', here.agentmux('requests')[0].id);
  await until(async () => (await page.title()) === 'agentmux', 'no count');
  await page.evaluate(() => (location.hash = '#/settings'));
  await page.getByLabel(/notif/i).first().setChecked(false);
  await here.later('send', 'fay', '-m', 'ask');
  await until(async () => (await page.title()) === '(1) agentmux', 'the count goes on');
  assert.equal((await notes()).length, 1);
});
