// Pictures of every view, at three widths and in three themes, into web/shots; and what axe finds in each.
// `npm run shots -- inbox 768 dark` makes the ones that match.
import { mkdirSync, readFileSync } from 'node:fs';
import { launch } from './browser.mjs';
import { serve } from './serve.mjs';
import { mock, uid } from './team.mjs';

const VIEWS = {
  inbox: '#/inbox', agents: '#/agents', agent: `#/agent/${uid(1)}`, permission: `#/agent/${uid(2)}`, terminal: `#/agent/${uid(4)}`, empty: `#/agent/${uid(5)}`, tiles: `#/tab/${uid(301)}`, chooser: `#/tab/${uid(302)}`,
  messages: '#/messages', thread: `#/messages/${uid(201)}`, graph: '#/messages/graph', new: '#/new', events: '#/events', system: '#/system', settings: '#/settings', palette: '#/inbox', sheet: '#/inbox', details: `#/agent/${uid(1)}`,
};
const SIZES = { 360: 780, 768: 1024, 1440: 900 };
const THEMES = ['light', 'dark', 'contrast'];
const words = process.argv.slice(2);
const groups = [Object.keys(VIEWS), Object.keys(SIZES), THEMES].map((all) => words.filter((word) => all.includes(word)));
const isWanted = (view, size, theme) => [view, size, theme].every((name, i) => groups[i].length === 0 || groups[i].includes(String(name)));

const out = new URL('../shots/', import.meta.url).pathname;
mkdirSync(out, { recursive: true });
const site = await serve();
const browser = await launch();
const axe = readFileSync(new URL('../node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');
let found = 0;
// axe tries styles of its own, which the policy refuses; that is no finding about us.
let looking = false;
for (const [width, height] of Object.entries(SIZES)) {
  for (const theme of THEMES) {
    if (theme === 'contrast' && width !== '1440' && groups[2].length === 0) continue;
    const context = await browser.newContext({ viewport: { width: Number(width), height }, hasTouch: width === '360', isMobile: width === '360', serviceWorkers: 'block' });
    await context.addInitScript((name) => localStorage.setItem('agentmux.theme', JSON.stringify(name)), theme);
    const page = await context.newPage();
    page.on('pageerror', (error) => (console.log('page error', error.message), (found += 1)));
    page.on('console', (line) => line.type() === 'error' && !looking && (console.log('console', line.text()), (found += 1)));
    await page.routeWebSocket(/\/v1\/stream/, (ws) => mock().serve(ws));
    await page.goto(site.url);
    await page.evaluate(() => document.fonts.ready);
    for (const [view, hash] of Object.entries(VIEWS)) {
      if (!isWanted(view, width, theme)) continue;
      await page.evaluate((to) => (location.hash = to), hash);
      await page.waitForTimeout(200);
      if (view === 'palette') await page.keyboard.press('Control+k');
      if (view === 'sheet') await page.keyboard.press('?');
      if (view === 'details') await page.getByRole('button', { name: 'Details' }).click();
      await page.waitForTimeout(view === 'terminal' || view === 'tiles' ? 700 : 150);
      await page.screenshot({ path: `${out}${view}-${width}-${theme}.png` });
      looking = true;
      await page.evaluate(`${axe};0`);
      const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'], rules: { 'page-has-heading-one': { enabled: false } } }));
      looking = false;
      for (const { id, nodes } of violations) {
        found += 1;
        console.log(`${view} ${width} ${theme}: ${id}: ${nodes.slice(0, 3).map((node) => `${node.target.join(' ')} (${(node.any[0] ?? node.all[0] ?? node.none[0])?.message ?? ''})`).join(' | ')}`);
      }
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      if (wide > 0) console.log(`${view} ${width} ${theme}: ${wide} px too wide`), (found += 1);
      if (view === 'palette' || view === 'sheet') await page.keyboard.press('Escape');
      if (view === 'details') await page.getByRole('button', { name: 'Details' }).click();
    }
    await context.close();
  }
}
await browser.close();
site.close();
console.log(`${found} findings`);
process.exit(found ? 1 : 0);
