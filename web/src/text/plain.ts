// Text of strangers on one line, and ANSI output, made harmless.

/** Characters that cannot be seen or turn the reading direction: they make one name look like another. */
// eslint-disable-next-line no-control-regex
const UNSEEN = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]/g;

export function line(text: string | null | undefined, max = 400): string {
  if (!text) return '';
  const one = text.slice(0, max * 2).replace(UNSEEN, '').replace(/\s+/g, ' ').trim();
  return one.length > max ? `${one.slice(0, max - 1)}…` : one;
}

/** The beginning of a Markdown text without its marks, for where it is shown on one line. */
export function gist(text: string | null | undefined, max = 400): string {
  return line(text?.slice(0, max * 2).replace(/```\S*|`|\*\*|^#+\s+|^>\s?/gm, ''), max);
}

export function visible(text: string): string {
  return text.replace(UNSEEN, '');
}

export type Span = { text: string; tone: string };

const ESCAPES = /\u001b(?:\[([0-9;:?]*)([@-~])|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[PX^_][^\u001b]*(?:\u001b\\)?|[ -/]*[0-~])/g;

/** Colours as classes; every other sequence is taken out. A carriage return goes back to the start of its line. */
export function ansi(text: string): Span[] {
  const spans: Span[] = [];
  let bold = false;
  let colour = '';
  const put = (piece: string) => {
    const clean = visible(overwritten(piece));
    if (clean === '') return;
    const tone = [bold ? 'ansi-b' : '', colour].filter(Boolean).join(' ');
    const before = spans.at(-1);
    if (before && before.tone === tone) before.text += clean;
    else spans.push({ text: clean, tone });
  };
  let at = 0;
  for (const match of text.matchAll(ESCAPES)) {
    put(text.slice(at, match.index));
    at = match.index + match[0].length;
    if (match[2] !== 'm') continue;
    const codes = (match[1] ?? '').split(/[;:]/).map(Number);
    for (let i = 0; i < codes.length; i += 1) {
      const code = codes[i]!;
      if (code === 0) [bold, colour] = [false, ''];
      else if (code === 1) bold = true;
      else if (code === 22) bold = false;
      else if (code >= 31 && code <= 36) colour = `ansi-${code - 30}`;
      else if (code >= 91 && code <= 96) colour = `ansi-${code - 90}`;
      else if (code === 90) colour = 'ansi-8';
      else if (code === 39 || code === 37 || code === 30 || code === 97) colour = '';
      else if (code === 38 || code === 48) i += codes[i + 1] === 5 ? 2 : 4;
    }
  }
  put(text.slice(at));
  return spans;
}

function overwritten(text: string): string {
  if (!text.includes('\r')) return text;
  return text
    .replace(/\r\n/g, '\n')
    .split('\n')
    .map((row) => row.slice(row.lastIndexOf('\r', row.length - 2) + 1).replace(/\r$/, ''))
    .join('\n');
}
