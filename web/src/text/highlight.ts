// Colours for code in fences: a file of its own, loaded with the first fence that names one of these languages.

import hljs from 'highlight.js/lib/core';
import bash from 'highlight.js/lib/languages/bash';
import diff from 'highlight.js/lib/languages/diff';
import go from 'highlight.js/lib/languages/go';
import json from 'highlight.js/lib/languages/json';
import python from 'highlight.js/lib/languages/python';
import rust from 'highlight.js/lib/languages/rust';
import sql from 'highlight.js/lib/languages/sql';
import typescript from 'highlight.js/lib/languages/typescript';

for (const [name, language] of Object.entries({ bash, diff, go, json, python, rust, sql, typescript })) hljs.registerLanguage(name, language);
hljs.registerAliases(['javascript', 'js', 'jsx', 'mjs', 'cjs', 'svelte'], { languageName: 'typescript' });
hljs.registerAliases(['shell', 'console', 'shellsession'], { languageName: 'bash' });

/** A fence that streams is coloured again with every frame. */
const CODE_CHARS_MAX = 16_000;

/** HTML of spans with classes, or nothing where the language is not known. */
export function paint(code: string, language: string): string | null {
  if (code.length > CODE_CHARS_MAX || !hljs.getLanguage(language)) return null;
  return hljs.highlight(code, { language, ignoreIllegals: true }).value;
}
