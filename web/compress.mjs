// Writes .br and .gz beside every text file of dist, so that the server never compresses.
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const TEXT = /\.(html|js|css|svg|json|webmanifest|txt)$/;

function* files(folder) {
  for (const name of readdirSync(folder).sort()) {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) yield* files(path);
    else yield path;
  }
}

const dist = new URL('./dist', import.meta.url).pathname;
const total = { js: 0, lazy: 0, css: 0, fonts: 0 };
for (const path of [...files(dist)]) {
  if (/\.(br|gz)$/.test(path)) continue;
  const bytes = readFileSync(path);
  if (/\.woff2$/.test(path)) total.fonts += bytes.length;
  if (!TEXT.test(path)) continue;
  const gz = gzipSync(bytes, { level: 9 });
  const br = brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } });
  writeFileSync(`${path}.gz`, gz);
  writeFileSync(`${path}.br`, br);
  if (path.endsWith('.js')) total[/xterm|terminal/i.test(path) ? 'lazy' : 'js'] += gz.length;
  if (path.endsWith('.css')) total.css += gz.length;
}
const kib = (n) => `${(n / 1024).toFixed(1)} KiB`;
console.log(`gzip: js ${kib(total.js)}, css ${kib(total.css)}, terminals ${kib(total.lazy)}; fonts ${kib(total.fonts)}`);

// The bundle that opens the page, before terminals.
const BUNDLE_MAX = 300 * 1024;
if (total.js + total.css > BUNDLE_MAX) {
  console.error(`the bundle is over its budget of ${kib(BUNDLE_MAX)}`);
  process.exit(1);
}
