// Files that go with a message: brought to the server when they are chosen, named by their digest when it is sent.

import type { Attachment } from '../proto';
import { Refused, type Failure } from './link';

/** The server takes no more with one message. */
export const FILES_MAX = 8;

export const address = (file: Attachment): string => `/v1/attachments/${encodeURIComponent(file.digest)}`;

/** `progress` hears which part of it has left, from 0 to 1. */
export function bring(file: File, name: string, signal: AbortSignal, progress: (part: number) => void = () => undefined): Promise<Attachment> {
  return new Promise((settle, refuse) => {
    // `fetch` does not say how much of a body has left.
    const request = new XMLHttpRequest();
    request.open('POST', '/v1/attachments');
    request.setRequestHeader('content-type', 'application/octet-stream');
    request.upload.onprogress = ({ loaded, total }) => progress(total ? loaded / total : 0);
    request.onload = () => {
      const told = parsed(request.responseText);
      if (told.ok) settle({ name, ...told.ok });
      else refuse(new Refused(told.error ?? { code: 'unavailable', message: `The server did not take ${name} (${request.status})` }));
    };
    request.onerror = () => refuse(new Refused({ code: 'unavailable', message: `The server was not reached: ${name}` }));
    request.onabort = () => refuse(new Refused({ code: 'unavailable', message: `Left out: ${name}` }));
    signal.addEventListener('abort', () => request.abort());
    request.send(file);
  });
}

function parsed(text: string): { ok?: { bytes: number; digest: string }; error?: Failure } {
  try {
    return JSON.parse(text) as { ok?: { bytes: number; digest: string }; error?: Failure };
  } catch {
    return {};
  }
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
