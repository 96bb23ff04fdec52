// Files that go with a message: brought to the server when they are chosen, named by their digest when it is sent.

import type { Attachment } from '../proto';
import { Refused, type Failure } from './link';

/** The server takes no more with one message. */
export const FILES_MAX = 8;

export const address = (file: Attachment): string => `/v1/attachments/${encodeURIComponent(file.digest)}`;

export async function bring(file: File, name: string, signal: AbortSignal): Promise<Attachment> {
  const answer = await fetch('/v1/attachments', { method: 'POST', body: file, signal, headers: { 'content-type': 'application/octet-stream' } });
  const told = (await answer.json().catch(() => ({}))) as { ok?: { bytes: number; digest: string }; error?: Failure };
  if (!told.ok) throw new Refused(told.error ?? { code: 'unavailable', message: `The server did not take ${name} (${answer.status})` });
  return { name, ...told.ok };
}

/** One part of a path, and no name twice: `log.txt`, `log-2.txt`. */
export function named(wanted: string, taken: readonly string[]): string {
  // eslint-disable-next-line no-control-regex
  const clean = wanted.replace(/[\\/\u0000-\u001f\u007f]/g, '_').replace(/^\.+$/, '').trim() || 'file';
  const used = new Set(taken.map((name) => name.toLowerCase()));
  const dot = clean.lastIndexOf('.');
  const [stem, end] = dot > 0 ? [clean.slice(0, dot), clean.slice(dot)] : [clean, ''];
  for (let n = 1; ; n += 1) {
    const name = n === 1 ? clean : `${stem}-${n}${end}`;
    if (!used.has(name.toLowerCase())) return name;
  }
}
