// Pictures of every view, at three widths and in three themes, into web/shots; and what axe finds in each.
// `npm run shots -- inbox 768 dark` makes the ones that match.
import { mkdirSync, readFileSync } from 'node:fs';
import { alone, launch } from './browser.mjs';
import { serve } from './serve.mjs';
import { mock, requests, uid } from './team.mjs';

const VIEWS = {
  inbox: '#/inbox', agents: '#/agents', agent: `#/agent/${uid(1)}`, permission: `#/agent/${uid(2)}`, terminal: `#/agent/${uid(4)}`, empty: `#/agent/${uid(5)}`, tiles: `#/tab/${uid(301)}`, chooser: `#/tab/${uid(302)}`,
  messages: '#/messages', thread: `#/messages/${uid(201)}`, graph: '#/messages/graph', new: '#/new', team: '#/new/team', write: '#/messages', events: '#/events', system: '#/system', settings: '#/settings', palette: '#/inbox', sheet: '#/inbox', details: `#/agent/${uid(1)}`, cards: `#/agent/${uid(1)}`, jump: `#/agent/${uid(1)}`, raw: `#/agent/${uid(1)}`,
  long: '#/inbox', opened: '#/inbox', why: '#/inbox', asked: `#/agent/${uid(2)}`, saving: `#/agent/${uid(1)}`, still: `#/agent/${uid(4)}`,
};
/** More than a card shows at first. */
const LONG = { tool: 'Bash', subject: 'x', detail: JSON.stringify({ description: 'Moves the orders of last year into the archive', command: Array.from({ length: 320 }, (_, n) => `psql -c "insert into archive select * from orders_${n}"`).join('\n'), timeout: 600 }) };
const SIZES = { 360: 780, 768: 1024, 1440: 900 };
const THEMES = ['light', 'dark', 'contrast'];
const words = process.argv.slice(2);
const groups = [Object.keys(VIEWS), Object.keys(SIZES), THEMES].map((all) => words.filter((word) => all.includes(word)));
const isWanted = (view, size, theme) => [view, size, theme].every((name, i) => name === '' || groups[i].length === 0 || groups[i].includes(String(name)));

const out = `${process.env.SCREENS ?? new URL('../shots', import.meta.url).pathname}/`;
mkdirSync(out, { recursive: true });
const site = await serve();
const browser = await launch();
const axe = readFileSync(new URL('../node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');
let found = 0;
const finding = (text) => (console.log(text), (found += 1));

/** One window: every view in it, one after the other. */
async function look(width, height, theme) {
  const context = await browser.newContext({ viewport: { width, height }, hasTouch: width === 360, isMobile: width === 360, serviceWorkers: 'block', reducedMotion: 'reduce' });
  await context.addInitScript((name) => localStorage.setItem('agentmux.theme', JSON.stringify(name)), theme);
  const page = await context.newPage();
  // axe tries styles of its own, which the policy refuses; that is no finding about us.
  let looking = false;
  page.on('pageerror', (error) => finding(`page error ${error.message}`));
  page.on('console', (line) => line.type() === 'error' && !looking && finding(`console ${line.text()}`));
  const server = mock();
  await alone(page);
  await page.routeWebSocket(/\/v1\/stream/, (ws) => server.serve(ws));
  await page.goto(site.url);
  await page.evaluate(() => document.fonts.ready);
  await page.evaluate(`${axe};0`);
  // What is drawn is what there is: nothing changed, moved or was fetched for some frames.
  const still = () =>
    page.evaluate(async () => {
      let changes = 0;
      const watch = new MutationObserver(() => (changes += 1));
      watch.observe(document.body, { childList: true, subtree: true });
      for (let same = 0, before = -1, frames = 0; same < 6 && frames < 90; frames += 1) {
        await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
        const busy = document.getAnimations().some((one) => one.playState === 'running') || (document.querySelector('[data-terminal]') && !document.querySelector('.xterm-rows')?.textContent.trim());
        same = busy || changes !== before ? 0 : same + 1;
        before = changes;
      }
      watch.disconnect();
    });
  for (const [view, hash] of Object.entries(VIEWS)) {
    if (!isWanted(view, width, theme)) continue;
    await page.evaluate((to) => (location.hash = to), hash);
    await still();
    if (['long', 'opened', 'why', 'asked'].includes(view)) server.put([{ table: 'request', key: requests[0].id, row: { ...requests[0], ...LONG } }]);
    if (view === 'opened') await page.getByRole('button', { name: 'Show more' }).first().click();
    if (view === 'why') await page.getByRole('button', { name: 'Deny and say why…' }).first().click();
    if (view === 'asked') await page.getByRole('button', { name: 'Show more' }).first().waitFor();
    if (view === 'saving' || view === 'still') await page.keyboard.press('Control+k'), await page.keyboard.type('data saver on'), await page.keyboard.press('Enter'), await page.getByText('Live text is off to save data').waitFor();
    if (view === 'palette') await page.keyboard.press('Control+k');
    if (view === 'sheet') await page.keyboard.press('?');
    if (view === 'details') await page.getByRole('button', { name: 'Details' }).click();
    if (view === 'team') await page.getByText('What this does').waitFor();
    if (view === 'write') await page.getByRole('button', { name: 'New message' }).click();
    if (view === 'jump') await page.keyboard.press('g'), await page.keyboard.press('t');
    if (view === 'raw') await page.locator('article [aria-haspopup=menu]').last().click(), await page.getByRole('menuitemcheckbox', { name: 'Raw frames' }).click();
    if (view === 'cards') {
      for (const closed = page.locator('[data-tool] > button[aria-expanded=false]'); (await closed.count()) > 0; ) await closed.first().click();
      if (width !== 360) await page.evaluate(() => document.querySelector('figure .beside')?.click());
      await page.setViewportSize({ width, height: 3200 });
    }
    if (['palette', 'sheet', 'details', 'jump', 'raw', 'cards', 'long', 'opened', 'why', 'asked', 'saving', 'still'].includes(view)) await still();
    await page.screenshot({ path: `${out}${view}-${width}-${theme}.png` });
    looking = true;
    const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'], rules: { 'page-has-heading-one': { enabled: false } } }));
    looking = false;
    for (const { id, nodes } of violations) finding(`${view} ${width} ${theme}: ${id}: ${nodes.slice(0, 3).map((node) => `${node.target.join(' ')} (${(node.any[0] ?? node.all[0] ?? node.none[0])?.message ?? ''})`).join(' | ')}`);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    if (wide > 0) finding(`${view} ${width} ${theme}: ${wide} px too wide`);
    if (view === 'cards') await page.setViewportSize({ width, height });
    if (view === 'palette' || view === 'sheet' || view === 'jump') await page.keyboard.press('Escape');
    if (view === 'details') await page.getByRole('button', { name: 'Details' }).click();
    if (view === 'opened') await page.getByRole('button', { name: 'Show less' }).first().click();
    if (view === 'saving' || view === 'still') await page.keyboard.press('Control+k'), await page.keyboard.type('data saver off'), await page.keyboard.press('Enter');
  }
  await context.close();
}

const windows = Object.entries(SIZES).flatMap(([width, height]) => THEMES.map((theme) => [Number(width), height, theme]));
// High contrast differs in colours alone, so one width is enough.
const wanted = windows.filter(([width, , theme]) => isWanted('', width, theme) && (theme !== 'contrast' || width === 1440 || groups[2].length > 0));
const began = performance.now();
await Promise.all(
  Array.from({ length: Number(process.env.E2E_JOBS) || 2 }, async () => {
    for (let next = wanted.shift(); next; next = wanted.shift()) await look(...next);
  }),
);
await browser.close();
site.close();
console.log(`${found} findings in ${Math.round((performance.now() - began) / 1000)} s; the pictures are in ${out}`);
process.exit(found ? 1 : 0);
