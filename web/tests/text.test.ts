import { describe, expect, it } from 'vitest';
import { blocks, html, sanitize } from '../src/text/markdown';
import { ansi, line } from '../src/text/plain';
import { counts, rows } from '../src/text/diff';
import corpus from '../golden/xss.json';

function living(markup: string): string[] {
  const root = document.createElement('div');
  root.innerHTML = markup;
  const bad: string[] = [];
  for (const element of root.querySelectorAll('*')) {
    if (/^(script|style|iframe|object|embed|img|svg|math|video|audio|link|meta|base|form|template|button)$/i.test(element.tagName)) bad.push(element.tagName);
    for (const { name, value } of element.attributes) {
      if (name.startsWith('on') || name === 'style' || name === 'srcdoc' || name === 'id' || name === 'class') bad.push(name);
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
