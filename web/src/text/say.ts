// Numbers and times in words.

export function ago(at: string | null | undefined, now: number): string {
  if (!at) return '';
  const s = Math.max(0, Math.round((now - Date.parse(at)) / 1000));
  if (Number.isNaN(s)) return '';
  if (s < 5) return 'now';
  // What stands beside every row does not tick: after a minute only minutes.
  if (s >= 60 && s < 3600) return `${Math.floor(s / 60)} m`;
  return span(s * 1000);
}

export function span(ms: number): string {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  const s = Math.round(ms / 1000);
  if (s < 60) return `${s} s`;
  const m = Math.floor(s / 60);
  if (m < 60) return m < 5 && s % 60 ? `${m} m ${s % 60} s` : `${m} m`;
  const h = Math.floor(m / 60);
  if (h < 24) return m % 60 && h < 6 ? `${h} h ${m % 60} m` : `${h} h`;
  return `${Math.floor(h / 24)} d`;
}

export function until(at: string | null | undefined, now: number): string {
  if (!at) return '';
  const ms = Date.parse(at) - now;
  return ms <= 0 ? 'now' : `in ${span(ms)}`;
}

export function exact(at: string | null | undefined): string {
  if (!at) return '';
  const date = new Date(at);
  return Number.isNaN(date.getTime()) ? '' : date.toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
}

export function clock(at: string): string {
  return new Date(at).toLocaleTimeString(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false });
}

export function count(n: number): string {
  if (n < 1000) return String(n);
  if (n < 10_000) return `${(n / 1000).toFixed(1)} k`;
  if (n < 1_000_000) return `${Math.round(n / 1000)} k`;
  return `${(n / 1_000_000).toFixed(1)} M`;
}

export function bytes(n: number): string {
  if (n < 1024) return `${n} B`;
  if (n < 1024 ** 2) return `${(n / 1024).toFixed(0)} KiB`;
  if (n < 1024 ** 3) return `${(n / 1024 ** 2).toFixed(0)} MiB`;
  return `${(n / 1024 ** 3).toFixed(1)} GiB`;
}

export function money(micro: number | null | undefined): string {
  if (micro === null || micro === undefined) return '';
  const dollars = micro / 1e6;
  return dollars < 0.005 && dollars > 0 ? '< $0.01' : `$${dollars.toFixed(2)}`;
}

/** The last parts of a path, with home as `~`. */
export function path(full: string, parts = 2): string {
  const home = full.replace(/^\/(home\/[^/]+|root)(?=\/|$)/, '~');
  const all = home.split('/').filter(Boolean);
  return all.length <= parts ? home : parts === 1 ? all.at(-1)! : `…/${all.slice(-parts).join('/')}`;
}

export const plural = (n: number, one: string, many = `${one}s`): string => `${n} ${n === 1 ? one : many}`;
