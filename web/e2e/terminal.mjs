// Terminals as a person uses them: found in, copied from, pasted into, shared; and what a program may not do to the page.
import assert from 'node:assert/strict';
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { alone } from './browser.mjs';
import { promise, until } from './world.mjs';

const CLIPBOARD = ['clipboard-read', 'clipboard-write'];
const shows = (page) => page.evaluate(() => document.querySelector('[data-terminal]')?.__text?.() ?? '');
const lines = async (page) => (await shows(page)).split('\n').map((line) => line.trimEnd());

function program(here, name, script) {
  here.agentmux('new', name, '--agent', 'cmd', '--', 'sh', '-c', script);
  return `#/agent/${here.uid(name)}`;
}
/** Where a cell of the terminal is on the page. */
async function cell(page, word) {
  const all = await lines(page);
  const row = all.findIndex((line) => line.includes(word));
  assert.ok(row >= 0, `${word} is on the screen`);
  const box = await page.locator('.xterm-screen').boundingBox();
  const { rows, cols } = await size(page);
  return { x: box.x + ((all[row].indexOf(word) + 1.5) * box.width) / cols, y: box.y + ((row + 0.5) * box.height) / rows, width: box.width / cols };
}
const size = (page) => page.evaluate(() => document.querySelector('[data-terminal]').__size());

promise('a page whose first connection is silent comes back by itself, also where its worker never ran', async (here) => {
  const page = await here.visit();
  const silent = await here.browser.newContext({ storageState: await page.context().storageState() });
  await silent.route('**/assets/socket.worker-*.js', () => undefined);
  const other = await silent.newPage();
  const hash = program(here, 'sh', 'echo ready; exec cat');
  await other.goto(`${here.url()}/${hash}`);
  await until(async () => /ready/.test(await shows(other)), 'the program');
});

promise('a terminal that could not be started yet is shown when it is', async (here) => {
  const tapes = join(here.root, 'state', 'tapes');
  const away = `${tapes}.away`;
  renameSync(tapes, away);
  writeFileSync(tapes, '');
  const made = here.later('new', 'sh', '--agent', 'cmd', '--', 'sh', '-c', 'echo ready; exec cat');
  const agent = await until(() => here.agentmux('ls', '--all').find((one) => one.name === 'sh'), 'the agent');
  const page = await here.visit({ hash: `#/agent/${agent.uid}` });
  await page.getByText('It is starting').waitFor();
  rmSync(tapes);
  renameSync(away, tapes);
  await until(async () => /ready/.test(await shows(page)), 'the program');
  await made;
});

promise('a terminal that is started from the page is shown, each time', async (here) => {
  const page = await here.visit({ hash: program(here, 'sh', 'echo ready $$; exec cat') });
  const ready = async () => /ready (\d+)/.exec(await shows(page))?.[1];
  let last = await until(ready, 'the program');
  for (let n = 0; n < 4; n += 1) {
    here.agentmux('stop', 'sh');
    const start = page.getByRole('button', { name: 'Start', exact: true }).last();
    await start.click();
    last = await until(async () => (await ready()) !== last && ready(), 'the next one');
  }
  assert.equal(await page.getByRole('button', { name: 'Look again' }).count(), 0);
});

promise('a part of the page that did not come is said to be missing, and comes with the next load', async (here) => {
  const page = await here.visit();
  await page.route('**/assets/Terminal-*.js', (route) => route.abort());
  const hash = program(here, 'sh', 'echo ready; exec cat');
  await page.evaluate((to) => (location.hash = to), hash);
  await page.getByText('A part of this page did not come').waitFor();
  await page.unroute('**/assets/Terminal-*.js');
  await page.getByRole('button', { name: 'Reload' }).click();
  await until(async () => /ready/.test(await shows(page)), 'the program');
});

promise('a word is found in what scrolled away, and the keys go back to the terminal', async (here) => {
  const page = await here.visit({ hash: program(here, 'sh', 'echo ready; read go; seq -f "row %g" 300; echo needle in the hay; seq -f "more %g" 300; cat') });
  await until(async () => /ready/.test(await shows(page)), 'the program');
  here.agentmux('keys', 'sh', 'Enter');
  await until(async () => /more 300/.test(await shows(page)), 'the output');
  await page.locator('.xterm-helper-textarea').focus();
  await page.keyboard.press('Control+Shift+F');
  const field = page.getByRole('textbox', { name: 'Find in the terminal' });
  await field.fill('needle');
  assert.equal(await page.locator('.xterm-rows').innerText().then((text) => text.includes('needle')), false, 'it is not on the screen');
  await field.press('Enter');
  await until(() => page.locator('.xterm-rows').innerText().then((text) => text.includes('needle in the hay')), 'the row that was found');
  await page.keyboard.press('Escape');
  await field.waitFor({ state: 'detached' });
  assert.ok(await page.evaluate(() => document.activeElement.matches('.xterm-helper-textarea')), 'the terminal has the keys');
});

promise('whoever types while a terminal prints is at its end, and stays there', async (here) => {
  const page = await here.visit({ hash: program(here, 'sh', 'echo ready; read go; for i in $(seq 1500); do seq -f "$i row %g" 20; done; echo END; cat') });
  await until(async () => /ready/.test(await shows(page)), 'the program');
  here.agentmux('keys', 'sh', 'Enter');
  const screen = page.locator('.xterm-rows');
  await until(async () => /50 row/.test(await shows(page)), 'it prints');
  await page.locator('.xterm-helper-textarea').focus();
  await page.locator('.xterm-screen').hover();
  await page.mouse.wheel(0, -400);
  await page.keyboard.press('x');
  assert.doesNotMatch(await shows(page), /END/, 'it prints still');
  await until(async () => /END/.test(await shows(page)), 'the output');
  await until(async () => /END/.test(await screen.innerText()), 'the end is on the screen');
});

promise.alone('what a program answers at once is drawn in the frame that was due when the key was pressed', async (here) => {
  const page = await here.visit({ hash: program(here, 'sh', 'echo ready; cat') });
  await until(async () => /ready/.test(await shows(page)), 'the program');
  await page.locator('.xterm-helper-textarea').focus();
  await page.evaluate(() => {
    const count = () => document.querySelector('[data-terminal]').__text().split('x').length;
    window.due = 0;
    // A page that draws all the time.
    const draw = (at) => ((document.body.style.outline = `1px solid hsl(${at % 360} 50% 50%)`), requestAnimationFrame(draw));
    requestAnimationFrame(draw);
    addEventListener('keydown', () => {
      const before = count();
      requestAnimationFrame(() => count() > before && (window.due += 1));
    }, true);
  });
  const KEYS = 40;
  for (let n = 1; n <= KEYS; n += 1) {
    await page.keyboard.press('x');
    await until(async () => (await shows(page)).split('x').length === n + 1, 'the key');
  }
  const due = await page.evaluate(() => window.due);
  console.log(`      in the frame that was due: ${due} of ${KEYS}`);
  // Not every frame is far enough away. A browser that holds answers back draws none of them in time.
  assert.ok(due > 0);
});

promise('what a page was not sent of a flood stands above the screen when the flood is over', async (here) => {
  const page = await here.visit({ hash: program(here, 'sh', 'echo ready; read go; seq -f "row %g of the flood, with some more words in it" 600000; echo END; exec cat') });
  await until(async () => /ready/.test(await shows(page)), 'the program');
  const screens = [];
  await alone(page);
  page.on('websocket', (socket) => socket.on('framereceived', ({ payload }) => typeof payload === 'string' && payload.includes('"screen"') && screens.push(payload)));
  await page.reload();
  await until(async () => /ready/.test(await shows(page)), 'the program again');
  const before = screens.length;
  here.agentmux('keys', 'sh', 'Enter');
  await until(async () => /END/.test(await shows(page)), 'the end');
  assert.ok(screens.length > before, 'it was too much to be sent');
  const rows = async () => (await lines(page)).flatMap((line) => /^row (\d+) /.exec(line)?.slice(1).map(Number) ?? []);
  let all = [];
  // It is drawn piece by piece, the end last.
  await until(async () => (all = await rows()).length >= 4000 && all.at(-1) === 600_000, 'as many as are kept').catch(() => undefined);
  assert.deepEqual([all.length >= 4000, all.at(-1), all.at(-1) - all[0]], [true, 600_000, all.length - 1], 'all of them, without a hole');
});

promise('what comes after a flood moves nothing under a reader, and takes the size from nobody', async (here) => {
  const hash = program(here, 'sh', 'echo ready; while read go; do seq -f "row %g of the flood, with some more words in it" 600000; for i in $(seq 40); do seq -f "more $i.%g" 5; sleep 0.05; done; echo "END $go"; done');
  const [wide, small] = [await here.visit({ hash }), await here.visit({ hash, width: 700 })];
  let looks = 0;
  await alone(small);
  small.on('websocket', (socket) => socket.on('framesent', ({ payload }) => (looks += Number(String(payload).includes('"view":{')))));
  await small.reload();
  for (const page of [wide, small]) await until(async () => /ready/.test(await shows(page)), 'the program');
  const both = async () => [(await size(wide)).cols, (await size(small)).cols];
  await until(async () => (await both()).every((cols) => cols < 100), 'the size of the one who came last');
  await wide.locator('.xterm-helper-textarea').focus();
  await wide.keyboard.type('one');
  await until(async () => (await both()).every((cols) => cols > 100), 'the size of the one who types');
  const before = await size(wide);
  // As soon as the end is there somebody reads what is above it.
  await wide.evaluate(() => {
    const reads = setInterval(() => {
      if (!document.querySelector('[data-terminal]').__text().includes('END one')) return;
      clearInterval(reads);
      document.querySelector('.xterm-helper-textarea').dispatchEvent(new KeyboardEvent('keydown', { key: 'PageUp', keyCode: 33, shiftKey: true, bubbles: true, cancelable: true }));
      window.isReading = true;
    }, 20);
  });
  await wide.keyboard.press('Enter');
  for (const page of [wide, small]) await until(async () => /END one/.test(await shows(page)), 'the end');
  await wide.waitForFunction(() => window.isReading);
  const top = () => wide.locator('.xterm-rows > div').first().innerText();
  const [read, kept] = [await top(), (await lines(wide)).length];
  const isWhole = async (page) => (await lines(page)).filter((line) => /^row /.test(line)).length >= 4000;
  await until(() => looks > 1, 'the other asks for what it was not sent');
  await until(() => isWhole(small), 'and has all of it');
  assert.deepEqual([await top(), (await lines(wide)).length], [read, kept], 'who reads is left alone');
  assert.deepEqual(await size(wide), before, 'and keeps the size');
  await wide.keyboard.press('Shift+PageDown');
  await until(() => isWhole(wide), 'at the end it has all of it, too');
  assert.deepEqual([await size(wide), await size(small)], [before, before]);
});

promise('what is selected in a terminal is copied by key', async (here) => {
  const page = await here.visit({ permissions: CLIPBOARD, hash: program(here, 'sh', 'echo copythis word; cat') });
  await until(async () => /copythis/.test(await shows(page)), 'the output');
  const at = await cell(page, 'copythis');
  await page.mouse.dblclick(at.x, at.y);
  await page.keyboard.press('Control+Shift+C');
  await until(() => page.evaluate(() => navigator.clipboard.readText()).then((text) => text === 'copythis'), 'the word in the clipboard');
});

promise('several lines are pasted as one thing, where the program asks for that', async (here) => {
  const page = await here.visit({ permissions: CLIPBOARD, hash: program(here, 'sh', 'stty raw -echo; printf "\\033[?2004hready\\r\\n"; cat -v') });
  await until(async () => /ready/.test(await shows(page)), 'the program');
  await page.locator('.xterm-helper-textarea').focus();
  await page.evaluate(() => {
    const clipboardData = new DataTransfer();
    // An end of the paste within it would let the rest be typed.
    clipboardData.setData('text/plain', 'one\ntwo \u001b[201~three');
    document.querySelector('.xterm-helper-textarea').dispatchEvent(new ClipboardEvent('paste', { clipboardData, bubbles: true, cancelable: true }));
  });
  await until(async () => /three\S*\^\[\[201~/.test((await lines(page)).join('')), 'the whole paste');
  const got = (await lines(page)).join('');
  assert.match(got, /\^\[\[200~one\^Mtwo /, 'in brackets, its lines in order');
  assert.equal(got.match(/\^\[\[201~/g).length, 1, `one end, ours: ${got}`);
});

// Alone: all pages of a browser have one clipboard.
promise.alone('a program in a terminal reaches neither the clipboard nor the title, and its links go where they say', async (here) => {
  const health = `${here.status.web_url}/healthz`;
  const script = [
    `printf '\\033]52;c;aGFja2Vk\\007\\033]52;c;?\\007'`,
    `printf '\\033]0;pwned\\007\\033]2;pwned\\007\\033]1337;CurrentDir=/\\007'`,
    `printf '\\033]8;;javascript:alert(1)\\007bad-link\\033]8;;\\007\\r\\n'`,
    `printf '\\033]8;;${health}?masked\\007masked-link\\033]8;;\\007\\r\\n'`,
    `printf 'see ${health} for more\\r\\n'`,
    'cat',
  ].join('; ');
  const page = await here.visit({ permissions: CLIPBOARD });
  await page.evaluate(() => navigator.clipboard.writeText('mine'));
  await page.evaluate((to) => (location.hash = to), program(here, 'sh', script));
  await until(async () => /for more/.test(await shows(page)), 'the output');
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), 'mine');
  assert.equal(await page.title(), 'agentmux');
  assert.doesNotMatch(await page.locator('body').innerText(), /pwned/);
  // The answer to a question about the clipboard would be typed into the program.
  assert.doesNotMatch(here.agentmux('look', 'sh').lines.join('\n'), /52;c/);
  const click = async (word) => {
    const at = await cell(page, word);
    await page.mouse.move(at.x - 2 * at.width, at.y);
    await page.mouse.move(at.x, at.y, { steps: 4 });
    await until(() => page.evaluate(() => document.querySelector('.xterm-cursor-pointer') !== null).then((is) => is || word === 'bad-link'), `${word} can be pressed`, 5000).catch(() => undefined);
    await page.mouse.click(at.x, at.y);
  };
  await click('bad-link');
  const [opened] = await Promise.all([page.context().waitForEvent('page'), click('http')]);
  assert.equal(opened.url(), health, 'and nothing that followed it');
  assert.equal(await opened.evaluate(() => window.opener), null);
  assert.deepEqual(here.errors, [], 'nothing was asked for a link that says where it goes');
  // One whose words are not its place asks with its place.
  await click('masked-link');
  await until(() => here.errors.length > 0, 'the question');
  assert.deepEqual(here.errors.splice(0), [`dialog: Open ${health}?masked?`]);
  assert.equal(page.context().pages().length, 2);
});

promise('of two who look at one terminal the one who types sets its size, and the other is told', async (here) => {
  here.agentmux('new', 'sh', '--agent', 'shell');
  const hash = `#/agent/${here.uid('sh')}`;
  const big = await here.visit({ hash, width: 1300, height: 900 });
  await big.locator('.xterm-screen').waitFor();
  const stty = async (page, mark) => {
    await page.locator('.xterm-helper-textarea').focus();
    await page.keyboard.type(`echo ${mark}-$(stty size | tr ' ' x)\n`);
    let found;
    await until(async () => (found = new RegExp(`^${mark}-(\\d+)x(\\d+)$`, 'm').exec((await lines(page)).join('\n'))), `the answer to ${mark}`);
    return found.slice(1).map(Number);
  };
  const first = await stty(big, 'first');
  const told = (page) => page.getByText('the size of another viewer');
  // Who comes last has it, as who sits down in front of a terminal.
  const small = await here.visit({ hash, width: 900, height: 500 });
  await told(big).waitFor();
  const second = await stty(small, 'second');
  await small.keyboard.type('seq -f line-%g 1 300\n');
  const has = (page, line) => lines(page).then((all) => all.includes(line));
  const isWhole = async () => {
    for (const page of [big, small]) await until(async () => (await has(page, 'line-1')) && (await has(page, 'line-300')), 'what scrolled away is above it');
  };
  await isWhole();
  assert.ok(second[0] < first[0] && second[1] < first[1], `${second} is smaller than ${first}`);
  await until(async () => new RegExp(`^${second[1]} × ${second[0]},`).test(await told(big).innerText()), 'the other size is said');
  assert.deepEqual(await size(big), await size(small), 'both see it as it is');
  // The window of who only looks may change as it likes.
  await big.setViewportSize({ width: 1000, height: 700 });
  assert.deepEqual(await stty(small, 'third'), second);
  await isWhole();
  await big.setViewportSize({ width: 1300, height: 900 });
  // Until somebody types there; the first line is still typed at the old size.
  await stty(big, 'fourth');
  await told(small).waitFor();
  await told(big).waitFor({ state: 'detached' });
  assert.deepEqual(await stty(big, 'fifth'), first);
  assert.deepEqual(await size(small), await size(big));
  // In the new size as well, for who has it and for who only looks.
  await isWhole();
});

promise('a view that is left costs nothing, and a page that nobody sees is not sent more than it can take', async (here) => {
  const noise = program(here, 'noise', 'i=0; while :; do i=$((i+1)); seq -f "$i %010g some words of output that go on and on" 2000; sleep 0.02; done');
  here.agentmux('new', 'calm', '--agent', 'fake', '--no-start-agent');
  const calm = `#/agent/${here.uid('calm')}`;
  const page = await here.visit();
  let heard = 0;
  const [asked, answered] = [[], new Set()];
  await alone(page);
  page.on('websocket', (socket) => {
    socket.on('framesent', ({ payload }) => typeof payload === 'string' && asked.push(JSON.parse(payload)));
    socket.on('framereceived', ({ payload }) => (typeof payload === 'string' ? answered.add(JSON.parse(payload).id) : (heard += payload.length)));
  });
  await page.reload();
  await page.evaluate((to) => (location.hash = to), noise);
  await until(() => heard > 2 ** 20, 'a stream');
  await page.evaluate((to) => (location.hash = to), calm);
  await page.getByRole('textbox', { name: 'Message calm' }).waitFor();
  // That a view has ended is said after everything that was sent of it.
  const { id: view } = asked.findLast((frame) => frame.view);
  await until(() => answered.has(asked.find((frame) => frame.unsub === view)?.id), 'the end of the view is answered');
  const left = heard;
  const progress = async () => {
    const at = () => Number(/^(\d+) /m.exec(here.agentmux('look', 'noise').lines.join('\n'))?.[1] ?? 0);
    const from = at();
    await until(() => at() > from + 30, 'the program goes on meanwhile, by megabytes');
  };
  await progress();
  assert.equal(heard, left, 'no frame of a view that is not looked at');
  // Browsers draw no frames of a page in the background.
  await page.evaluate((to) => (location.hash = to), noise);
  await until(() => heard > left + 2 ** 19, 'the stream again');
  await page.evaluate(() => {
    window.requestAnimationFrame = () => 0;
  });
  const hidden = heard;
  await progress();
  // What may be under way, and what the page had taken and not yet told.
  assert.ok(heard - hidden <= 1.5 * 2 ** 20, `${heard - hidden} bytes for nobody`);
});
