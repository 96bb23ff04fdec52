import { describe, expect, it } from 'vitest';
import { paint } from '../src/text/highlight';
import { blocks, colour, html, sanitize } from '../src/text/markdown';
import { action, isSaid } from '../src/text/action';
import { completed, fitting, mention, offered, slash } from '../src/text/mention';
import { ansi, gist, line } from '../src/text/plain';
import { named } from '../src/feed/files';
import { counts, rows } from '../src/text/diff';
import corpus from '../golden/xss.json';

function living(markup: string): string[] {
  const root = document.createElement('div');
  root.innerHTML = markup;
  const bad: string[] = [];
  for (const element of root.querySelectorAll('*')) {
    if (/^(script|style|iframe|object|embed|img|svg|math|video|audio|link|meta|base|form|template|button)$/i.test(element.tagName)) bad.push(element.tagName);
    for (const { name, value } of element.attributes) {
      if (name.startsWith('on') || name === 'style' || name === 'srcdoc' || name === 'id' || (name === 'class' && !/^hljs-[a-z_ -]+$/.test(value))) bad.push(name);
      if (name === 'href' && !/^(https?:|mailto:)/i.test(value)) bad.push(value);
    }
  }
  return bad;
}

describe('the sanitiser', () => {
  it.each(corpus)('lets nothing live through: %s', (hostile) => {
    expect(living(html(hostile))).toEqual([]);
    expect(living(sanitize(hostile))).toEqual([]);
  });

  it('opens links elsewhere, without a way back', () => {
    expect(html('[a](https://example.org)')).toContain('rel="noopener noreferrer nofollow"');
    expect(html('[a](https://example.org)')).toContain('target="_blank"');
  });

  it('loads no image and says where it would be from', () => {
    const made = html('![cat](https://example.org/cat.png)');
    expect(made).not.toContain('<img');
    expect(made).toContain('image: cat');
  });

  it('shows raw HTML as text', () => {
    expect(html('a <b>bold</b> word')).toContain('&lt;b&gt;');
  });
});

describe('blocks', () => {
  it('join to the text they are of, and only the last changes while it grows', () => {
    const text = '# Title\n\nFirst.\n\n```js\nlet a;\n\nlet b;\n```\n\n- one\n\n- two\n\n  more of two\n\nLast.';
    const whole = blocks(text);
    expect(whole).toEqual(['# Title', 'First.', '```js\nlet a;\n\nlet b;\n```', '- one\n\n- two\n\n  more of two', 'Last.']);
    for (let cut = 1; cut < text.length; cut += 1) {
      const part = blocks(text.slice(0, cut));
      expect(part.slice(0, -1)).toEqual(whole.slice(0, Math.max(0, part.length - 1)));
    }
  });
});

describe('plain text', () => {
  it('has no characters that cannot be seen', () => {
    expect(line('a\u202eb\u0000c\u200bd\n e')).toBe('abcd e');
  });
  it('keeps colours as classes and drops every other sequence', () => {
    expect(ansi('\u001b[1;31mno\u001b[0m ok\u001b]0;title\u0007\u001b[2J')).toEqual([{ text: 'no', tone: 'ansi-b ansi-1' }, { text: ' ok', tone: '' }]);
    expect(ansi('10%\r20%\rdone\nx')).toEqual([{ text: 'done\nx', tone: '' }]);
  });
});

describe('diffs', () => {
  it('of two texts show what changed with its surroundings', () => {
    const old = Array.from({ length: 30 }, (_, i) => `line ${i}`).join('\n');
    const all = rows({ type: 'texts', old, new: old.replace('line 15', 'LINE 15') });
    expect(counts(all)).toEqual({ added: 1, removed: 1 });
    expect(all).toHaveLength(8);
    expect(all.find((row) => row.sign === '+')).toEqual({ sign: '+', new: 16, text: 'LINE 15' });
  });
  it('of a new file are all added', () => {
    expect(counts(rows({ type: 'texts', new: 'a\nb\n' }))).toEqual({ added: 2, removed: 0 });
  });
  it('in unified form keep their numbers', () => {
    const all = rows({ type: 'unified', diff: '--- a/x\n+++ b/x\n@@ -10,2 +10,3 @@ fn main\n same\n-old\n+new\n+more\n' });
    expect(all.map((row) => row.sign).join('')).toBe('@ -++');
    expect(all[1]).toEqual({ sign: ' ', old: 10, new: 10, text: 'same' });
  });
});

describe('code in fences', () => {
  it('gets its colours late, and with them no class or element that is not of colours', () => {
    const fence = '```js\nconst a = "<img src=x onerror=alert(1)>"; // </code><script>\n```';
    expect(html(fence)).not.toContain('hljs-');
    colour(paint);
    const made = html(fence);
    expect(made).toContain('<span class="hljs-keyword">const</span>');
    expect(living(made)).toEqual([]);
    expect(new DOMParser().parseFromString(made, 'text/html').body.textContent!.trim()).toBe('const a = "<img src=x onerror=alert(1)>"; // </code><script>');
    expect(sanitize('<span class="hljs-string evil"></span><span class="veil">a</span><p class="hljs-string">b</p>')).not.toMatch(/veil|<p class/);
    for (const evil of corpus) expect(living(html(`\`\`\`html\n${evil}\n\`\`\`\n\n${evil}`))).toEqual([]);
  });
  it('stays plain in a language that is not known', () => {
    expect(html('```cobol\nMOVE A TO B\n```')).toContain('<code>MOVE A TO B</code>');
  });
});

describe('a mention', () => {
  it('begins at a word and ends at the caret', () => {
    expect(mention('ask @sc', 7)).toEqual({ from: 4, word: 'sc' });
    expect(mention('@', 1)).toEqual({ from: 0, word: '' });
    expect(mention('mail me@shop', 12)).toBeNull();
    expect(mention('ask @sc now', 11)).toBeNull();
  });
  it('is completed by names that begin so, then by teams, and the words after it stay', () => {
    expect(fitting(['api@shop', 'web@shop', 'shop@lab'], 'shop')).toEqual(['shop@lab', 'api@shop', 'web@shop']);
    expect(completed('ask @sc now', { from: 4, word: 'sc' }, 'scout@lab')).toEqual({ text: 'ask @scout@lab now', caret: 15 });
    expect(completed('@w', { from: 0, word: 'w' }, 'web@shop')).toEqual({ text: '@web@shop ', caret: 10 });
  });
  it('may be a path, and a directory stays open for what is in it', () => {
    expect(mention('see @src/Ma', 11)).toEqual({ from: 4, word: 'src/Ma' });
    expect(completed('see @sr', { from: 4, word: 'sr' }, 'src/')).toEqual({ text: 'see @src/', caret: 9 });
    expect(completed('see @src/Ma', { from: 4, word: 'src/Ma' }, 'src/main.rs')).toEqual({ text: 'see @src/main.rs ', caret: 17 });
  });
});

describe('a slash', () => {
  it('is a command at the very beginning only, while its first word is written', () => {
    expect(slash('/re', 3)).toBe('re');
    expect(slash('/', 1)).toBe('');
    expect(slash('say /re', 7)).toBeNull();
    expect(slash('/review src', 11)).toBeNull();
    expect(slash('/usr/bin', 8)).toBeNull();
  });
  it('offers what begins so before what has it, and the CLI goes before us', () => {
    const one = (name: string) => ({ name, about: '', takes: '' });
    const names = (word: string) => offered([one('my-restart'), one('stop')], [one('restart'), one('stop')], word).map((found) => `${found.name}${found.ours ? '!' : ''}`);
    expect(names('re')).toEqual(['restart!', 'my-restart']);
    expect(names('stop')).toEqual(['stop']);
  });
});

describe('what a permission is for', () => {
  const ask = (detail: string, subject: string | null = null) => action({ title: 'Edit: x', detail, tool: 'Edit', subject });
  it('is a command with what the agent says about it', () => {
    expect(ask('Remove the cache\n{\n  "command": "rm -r cache",\n  "timeout": 5\n}')).toEqual({ about: 'Remove the cache', command: 'rm -r cache', diffs: [], fields: [{ name: 'timeout', value: '5' }] });
  });
  it('is the change of a file, of several places, or a new one', () => {
    expect(ask('{"file_path":"a","old_string":"x","new_string":"y","replace_all":true}')).toMatchObject({ diffs: [{ path: 'a', change: { old: 'x', new: 'y' } }], fields: [{ name: 'replace_all', value: 'true' }] });
    expect(ask('{"file_path":"a","edits":[{"old_string":"x","new_string":"y"},{"old_string":"p","new_string":"q"}]}').diffs).toHaveLength(2);
    expect(ask('{"file_path":"a","content":"new"}').diffs).toEqual([{ path: 'a', change: { type: 'texts', new: 'new' } }]);
  });
  it('is shown whole when one thing comes by several names', () => {
    const both = ask('{"filePath":"a","oldString":"x","newString":"evil","old_string":"x","new_string":"harmless"}');
    expect(both.diffs).toMatchObject([{ path: 'a', change: { new: 'harmless' } }]);
    expect(both.fields).toEqual([{ name: 'oldString', value: 'x' }, { name: 'newString', value: 'evil' }]);
  });
  it('is not said twice, and is said when it was cut', () => {
    const bash = { title: 'Bash: ls', detail: '{"command":"ls"}', tool: 'Bash', subject: 'ls' };
    expect([isSaid(bash), isSaid({ ...bash, detail: '{"command":"l' }), isSaid({ ...bash, title: 'List it' })]).toEqual([true, false, false]);
  });
  it('leaves nothing out that it does not understand', () => {
    expect(ask('{"file_path":"a","edits":[{"old_string":"x","new_string":"y","where":3}]}').fields.map((field) => field.name)).toEqual(['file_path', 'edits']);
    expect(ask('{"command":"cut sho').raw).toBe('{"command":"cut sho');
    expect(ask('plain words').raw).toBe('plain words');
    expect(ask('[1]').raw).toBe('[1]');
  });
});

describe('the name of a file', () => {
  it('is one part of a path, and no name twice whatever its case', () => {
    expect(named('../etc/passwd', [])).toBe('.._etc_passwd');
    expect(named('..', [])).toBe('file');
    expect(named('Log.txt', ['log.txt', 'LOG-2.txt'])).toBe('Log-3.txt');
  });
});

describe('the gist of a text', () => {
  it('is one line without the marks of Markdown', () => {
    expect(gist('## Done\n`api` and **web**\n```rust\nlet a;\n```')).toBe('Done api and web let a;');
  });
});
