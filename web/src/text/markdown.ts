// Untrusted Markdown. Everything an agent wrote goes through here: marked makes HTML, DOMPurify takes away what is not on a
// short list. No images are loaded, no style survives, links open elsewhere without a way back.

import DOMPurify from 'dompurify';
import { Marked } from 'marked';

const TAGS = [
  'p', 'br', 'hr', 'em', 'strong', 'del', 'code', 'pre', 'blockquote', 'ul', 'ol', 'li', 'h1', 'h2', 'h3', 'h4', 'h5', 'h6',
  'table', 'thead', 'tbody', 'tr', 'th', 'td', 'a', 'sup', 'sub', 'kbd', 'details', 'summary', 'span', 'input',
];

let paint: ((code: string, language: string) => string | null) | null = null;

/** Code has colours from now on. What makes them is not trusted more than an agent: it too goes through the sanitiser. */
export function colour(by: (code: string, language: string) => string | null): void {
  paint = by;
  kept.clear();
}

const marked = new Marked({
  gfm: true,
  breaks: false,
  renderer: {
    // Raw HTML of an agent is shown as what it is: text.
    html: ({ text }) => escape(text),
    image: ({ href, text }) => `<a href="${escape(href)}">image: ${escape(text || href)}</a>`,
    checkbox: ({ checked }) => `<input type="checkbox" disabled${checked ? ' checked' : ''} aria-label="${checked ? 'done' : 'not done'}"> `,
    code: ({ text, lang }) => {
      const name = /^[\w+#.-]{1,24}/.exec(lang ?? '')?.[0];
      const painted = name ? paint?.(text, name.toLowerCase()) : null;
      return `<pre${name ? ` data-lang="${escape(name)}"` : ''} tabindex="0"><code>${painted ?? escape(text)}</code></pre>`;
    },
  },
});

const purify = DOMPurify(window);
purify.addHook('afterSanitizeAttributes', (node) => {
  // Of classes only those that colour code.
  if (node.hasAttribute('class') && !(node.tagName === 'SPAN' && /^hljs-[a-z_ -]+$/.test(node.getAttribute('class')!))) node.removeAttribute('class');
  if (node.tagName !== 'A') return;
  if (!/^(https?:|mailto:)/i.test(node.getAttribute('href') ?? '')) {
    node.removeAttribute('href');
    return;
  }
  node.setAttribute('target', '_blank');
  node.setAttribute('rel', 'noopener noreferrer nofollow');
});

const kept = new Map<string, string>();

/** Blocks that were rendered lately; a transcript is scrolled to and fro. */
const KEPT_MAX = 800;

export function html(block: string): string {
  const known = kept.get(block);
  if (known !== undefined) return known;
  const made = sanitize(marked.parse(block, { async: false }));
  if (kept.size >= KEPT_MAX) kept.delete(kept.keys().next().value!);
  kept.set(block, made);
  return made;
}

export function sanitize(dirty: string): string {
  return purify.sanitize(dirty, {
    ALLOWED_TAGS: TAGS,
    ALLOWED_ATTR: ['href', 'title', 'data-lang', 'target', 'rel', 'align', 'start', 'type', 'disabled', 'checked', 'tabindex', 'aria-label'],
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    ADD_ATTR: ['data-lang', 'aria-label', 'class'],
  });
}

/**
 * The text cut into pieces that render on their own, so that only the last is made anew while it streams. A cut is a blank
 * line outside of a fence that is not followed by something that belongs to the block before: an indented line or an item.
 */
export function blocks(text: string): string[] {
  const out: string[] = [];
  let start = 0;
  let fence = '';
  let isList = false;
  let blank = false;
  let at = 0;
  while (at < text.length) {
    let end = text.indexOf('\n', at);
    if (end < 0) end = text.length;
    const line = text.slice(at, end);
    const mark = /^ {0,3}(`{3,}|~{3,})/.exec(line)?.[1];
    if (fence) {
      if (mark && mark[0] === fence[0] && mark.length >= fence.length && line.trim() === mark) fence = '';
      blank = false;
    } else if (line.trim() === '') {
      blank = true;
    } else {
      // A mark alone at the end may still become an item.
      const isItem = /^ {0,3}([-*+]|\d{1,9}[.)]?)(\s|$)/.test(line);
      const belongs = isList && (isItem || /^\s{2,}/.test(line));
      if (blank && !belongs && at > start) {
        out.push(text.slice(start, at).trimEnd());
        start = at;
        isList = false;
      }
      if (isItem) isList = true;
      if (mark) fence = mark;
      blank = false;
    }
    at = end + 1;
  }
  const last = text.slice(start).trimEnd();
  if (last.trim() !== '') out.push(last);
  return out;
}

export function escape(text: string): string {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}
