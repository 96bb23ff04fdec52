// Files that go with a message: brought to the server when they are chosen, named by their digest when it is sent.

import type { Attachment } from '../proto';
import { Refused, type Failure } from './link';

/** The server takes no more with one message. */
export const FILES_MAX = 8;

export const address = (file: Attachment): string => `/v1/attachments/${encodeURIComponent(file.digest)}`;

/** `progress`: what part of it is under way. `fetch` does not tell, so this is the older way. */
export function bring(file: File, name: string, signal: AbortSignal, progress: (part: number) => void = () => undefined): Promise<Attachment> {
  return new Promise((done, fail) => {
    const request = new XMLHttpRequest();
    request.open('POST', '/v1/attachments');
    request.setRequestHeader('content-type', 'application/octet-stream');
    request.upload.onprogress = (event) => event.lengthComputable && progress(event.loaded / event.total);
    const unreached = (why: string) => fail(new Refused({ code: 'unavailable', message: `The server did not take ${name} (${why})` }));
    request.onerror = () => unreached('no connection');
    request.onabort = () => unreached('left out');
    request.onload = () => {
      let told: { ok?: { bytes: number; digest: string }; error?: Failure } = {};
      try {
        told = JSON.parse(request.responseText) as typeof told;
      } catch {
        // A proxy answered.
      }
      if (told.ok) done({ name, ...told.ok });
      else if (told.error) fail(new Refused(told.error));
      else unreached(String(request.status));
    };
    signal.addEventListener('abort', () => request.abort());
    request.send(file);
  });
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
