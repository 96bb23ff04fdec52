// Keys as text (`mod+k`, `shift+?`, `g i`), matched against what is pressed. Pure: the registry of commands comes in.

export type Press = { key: string; ctrlKey: boolean; metaKey: boolean; altKey: boolean; shiftKey: boolean };

/** Where a key may be heard. `always`: in text fields and terminals too. */
export type Scope = 'always' | 'page';

export type Bound = { id: string; keys: readonly string[]; scope: Scope };

export const isMac = (platform: string): boolean => /mac|iphone|ipad/i.test(platform);

/** One press as text, with `mod` for the key that stands for commands on this system. */
export function chord(press: Press, mac: boolean): string {
  const parts: string[] = [];
  if (mac ? press.metaKey : press.ctrlKey) parts.push('mod');
  if (mac ? press.ctrlKey : press.metaKey) parts.push(mac ? 'ctrl' : 'meta');
  if (press.altKey) parts.push('alt');
  const key = press.key.length === 1 ? press.key.toLowerCase() : press.key.toLowerCase();
  // A shifted sign is a sign of its own: `?`, not `shift+/`.
  if (press.shiftKey && (press.key.length > 1 || /[a-z]/i.test(press.key) || press.ctrlKey || press.metaKey)) parts.push('shift');
  parts.push(key === ' ' ? 'space' : key);
  return parts.join('+');
}

export type Match = { run: string } | { pending: string } | null;

/** `before`: the first key of a sequence that was begun. */
export function match(bounds: readonly Bound[], press: string, before: string, inText: boolean): Match {
  const heard = bounds.filter((bound) => !inText || bound.scope === 'always');
  const whole = before ? `${before} ${press}` : press;
  for (const bound of heard) if (bound.keys.includes(whole)) return { run: bound.id };
  if (heard.some((bound) => bound.keys.some((keys) => keys.startsWith(`${whole} `)))) return { pending: whole };
  return before ? match(bounds, press, '', inText) : null;
}

/** Two commands on one key, where both could be heard. */
export function clashes(bounds: readonly Bound[]): string[] {
  const seen = new Map<string, string>();
  const found: string[] = [];
  for (const { id, keys } of bounds) {
    for (const key of keys) {
      const other = seen.get(key);
      if (other && other !== id) found.push(`${key}: ${other}, ${id}`);
      seen.set(key, id);
    }
  }
  return found;
}

const NAMES: Record<string, string> = {
  arrowleft: '←', arrowright: '→', arrowup: '↑', arrowdown: '↓', enter: '↵', escape: 'Esc', space: 'Space', tab: 'Tab', backspace: '⌫',
};

export function shown(keys: string, mac: boolean): string[] {
  return keys.split(' ').map((press) =>
    press
      .split('+')
      .map((part) => {
        if (part === 'mod') return mac ? '⌘' : 'Ctrl';
        if (part === 'alt') return mac ? '⌥' : 'Alt';
        if (part === 'shift') return mac ? '⇧' : 'Shift';
        if (part === 'ctrl') return mac ? '⌃' : 'Ctrl';
        return NAMES[part] ?? (/^(.|f\d+)$/.test(part) ? part.toUpperCase() : part);
      })
      .join(mac ? '' : '+'),
  );
}

/** How well a query fits a text; 0: not at all. Letters in order, words and starts count more. */
export function score(query: string, text: string): number {
  const q = query.toLowerCase().replace(/\s+/g, '');
  if (q === '') return 1;
  const t = text.toLowerCase();
  const whole = t.indexOf(query.toLowerCase().trim());
  if (whole >= 0) return 1000 - whole + (whole === 0 || /\W/.test(t[whole - 1]!) ? 200 : 0) - t.length / 10;
  let points = 0;
  let at = -1;
  for (const c of q) {
    const next = t.indexOf(c, at + 1);
    if (next < 0) return 0;
    points += next === at + 1 ? 5 : next === 0 || /\W/.test(t[next - 1]!) ? 8 : 1;
    at = next;
  }
  return points - t.length / 50;
}
