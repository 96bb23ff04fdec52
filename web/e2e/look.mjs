// Pictures of a real server at work, for the eye: `node e2e/look.mjs`.
import { mkdirSync } from 'node:fs';
import { world } from './world.mjs';
const here = await world();
const out = new URL('../shots/', import.meta.url).pathname;
mkdirSync(out, { recursive: true });
try {
  here.agentmux('new', 'fay', '--agent', 'fake');
  here.agentmux('new', 'bo', '--agent', 'fake');
  here.agentmux('new', 'sh', '--agent', 'shell');
  here.agentmux('new', 'ended', '--agent', 'cmd', '--', 'sh', '-c', 'echo bye; exit 3');
  await here.later('send', 'fay', '-m', 'say:40 ask say:20', '--wait', 'begun');
  await here.later('send', 'bo', '-m', 'say:9', '--wait', 'acked');
  await here.later('send', 'bo', '-m', 'say:9000 sleep:5000 say:4');
  const uid = (name) => here.agentmux('ls', '--all').find((agent) => agent.name === name).uid;
  const page = await here.visit({ width: 1440, height: 900 });
  page.on('websocket', () => undefined);
  for (const [name, hash] of Object.entries({ inbox: '#/inbox', fay: `#/agent/${uid('fay')}`, bo: `#/agent/${uid('bo')}`, sh: `#/agent/${uid('sh')}`, ended: `#/agent/${uid('ended')}`, messages: '#/messages', new: '#/new', events: '#/events', system: '#/system', settings: '#/settings' })) {
    await page.evaluate((to) => (location.hash = to), hash);
    await page.waitForTimeout(1200);
    await page.screenshot({ path: `${out}real-${name}.png` });
  }
  await page.evaluate((to) => (location.hash = to), `#/agent/${uid('fay')}`);
  await page.getByRole('button', { name: 'Details' }).click();
  await page.waitForTimeout(800);
  await page.screenshot({ path: `${out}real-details.png` });
  console.log(here.errors);
} finally {
  await here.end();
}
