// The pictures of the README, of a made-up team, into docs/pictures: `npm run build && npm run pictures`.
import { mkdirSync, writeFileSync } from 'node:fs';
import { crc32, deflateSync } from 'node:zlib';
import { alone, launch } from './browser.mjs';
import { serve } from './serve.mjs';
import { mock, uid } from './team.mjs';

const PICTURES = {
  'tiles-light': { hash: `#/tab/${uid(301)}`, theme: 'light', width: 1440, height: 900 },
  'agent-dark': { hash: `#/agent/${uid(1)}`, theme: 'dark', width: 1440, height: 900 },
  'inbox-phone': { hash: '#/inbox', theme: 'light', width: 360, height: 740, phone: true },
};
/** They are in the repository for ever. */
const BYTES_MAX = 150_000;

const out = new URL('../../docs/pictures/', import.meta.url).pathname;
mkdirSync(out, { recursive: true });
const site = await serve();
const browser = await launch();
const scanner = await (await browser.newContext()).newPage();
let failed = 0;
for (const [name, { hash, theme, width, height, phone = false }] of Object.entries(PICTURES)) {
  const context = await browser.newContext({ viewport: { width, height }, hasTouch: phone, isMobile: phone, serviceWorkers: 'block', reducedMotion: 'reduce' });
  await context.addInitScript((to) => localStorage.setItem('agentmux.theme', JSON.stringify(to)), theme);
  const page = await context.newPage();
  await alone(page);
  await page.routeWebSocket(/\/v1\/stream/, (ws) => mock().serve(ws));
  await page.goto(`${site.url}/${hash}`);
  await page.evaluate(() => document.fonts.ready);
  await page.locator('[data-node], main li.need').first().waitFor();
  if (name.startsWith('tiles')) await page.locator('.xterm-screen').waitFor();
  // Everything above is there; this is for what it draws in its next frames.
  await page.waitForTimeout(800);
  const bytes = small(await pixels(await page.screenshot()), width, height);
  writeFileSync(`${out}${name}.png`, bytes);
  console.log(`${name}.png: ${Math.round(bytes.length / 1000)} kB`);
  if (bytes.length > BYTES_MAX) failed += 1;
  await context.close();
}
await browser.close();
site.close();
if (failed) console.error(`larger than ${BYTES_MAX / 1000} kB`);
process.exit(failed ? 1 : 0);

/** RGBA of a PNG; a browser knows how. */
async function pixels(png) {
  const text = await scanner.evaluate(async (data) => {
    const image = new Image();
    image.src = `data:image/png;base64,${data}`;
    await image.decode();
    const canvas = Object.assign(document.createElement('canvas'), { width: image.width, height: image.height });
    const context = canvas.getContext('2d');
    context.drawImage(image, 0, 0);
    const all = context.getImageData(0, 0, image.width, image.height).data;
    let out = '';
    for (let i = 0; i < all.length; i += 32768) out += String.fromCharCode(...all.subarray(i, i + 32768));
    return btoa(out);
  }, png.toString('base64'));
  return Buffer.from(text, 'base64');
}

/** A PNG of 256 colours: the most frequent as they are, the others as the nearest of these. */
function small(rgba, width, height) {
  const counts = new Map();
  for (let i = 0; i < rgba.length; i += 4) {
    const colour = rgba.readUIntBE(i, 3);
    counts.set(colour, (counts.get(colour) ?? 0) + 1);
  }
  const apart = (a, b) => ((a >> 16) - (b >> 16)) ** 2 + (((a >> 8) & 255) - ((b >> 8) & 255)) ** 2 + ((a & 255) - (b & 255)) ** 2;
  const palette = [];
  // First what differs visibly from all that was taken, so that a rare colour is not lost to shades of grey.
  for (const least of [600, 150, 1]) {
    for (const [colour] of [...counts].sort((a, b) => b[1] - a[1])) {
      if (palette.length === 256) break;
      if (palette.every((other) => apart(other, colour) >= least)) palette.push(colour);
    }
  }
  // What is flat keeps its own colour, however near another is.
  const flat = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 24).map(([colour]) => colour).filter((colour) => !palette.includes(colour));
  palette.splice(256 - flat.length, flat.length, ...flat);
  const nearest = new Map();
  for (const colour of counts.keys()) {
    let best = 0;
    for (let i = 1; i < palette.length; i += 1) if (apart(palette[i], colour) < apart(palette[best], colour)) best = i;
    nearest.set(colour, best);
  }
  const rows = Buffer.alloc((width + 1) * height);
  for (let y = 0; y < height; y += 1) for (let x = 0; x < width; x += 1) rows[y * (width + 1) + 1 + x] = nearest.get(rgba.readUIntBE((y * width + x) * 4, 3));
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 3, 0, 0, 0], 8);
  const colours = Buffer.concat(palette.map((colour) => Buffer.from([colour >> 16, (colour >> 8) & 255, colour & 255])));
  const chunk = (type, data) => {
    const body = Buffer.concat([Buffer.from(type), data]);
    const whole = Buffer.alloc(body.length + 8);
    whole.writeUInt32BE(data.length, 0);
    body.copy(whole, 4);
    whole.writeUInt32BE(crc32(body), body.length + 4);
    return whole;
  };
  return Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), chunk('IHDR', head), chunk('PLTE', colours), chunk('IDAT', deflateSync(rows, { level: 9 })), chunk('IEND', Buffer.alloc(0))]);
}
