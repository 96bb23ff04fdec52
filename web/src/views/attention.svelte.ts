// The count in the title, the favicon and the app badge; and notifications of what newly waits, taken back when it is
// resolved anywhere. Nothing is said about what the person is looking at.

import { place, prefs, store } from '../feed/store.svelte';
import { isNeed } from '../feed/inbox';
import { line } from '../text/plain';
import { shared } from './state.svelte';

const icon = (dot: string) =>
  `data:image/svg+xml,${encodeURIComponent(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#1c1b19"/><path d="M8 10.5h6M8 16h16M8 21.5h10" stroke="#fdfcfa" stroke-width="2.6" stroke-linecap="round"/>${dot}</svg>`)}`;
const CALM = icon('<circle cx="21" cy="10.5" r="2.7" fill="#79c99e"/>');
const NEED = icon('<path d="M23 3l9 15H14z" fill="#f2b84b"/>');

export function attention(): void {
  const shown = new Map<string, Notification>();
  let known: Set<string> | null = null;

  $effect(() => {
    const { needs } = shared;
    document.title = needs ? `(${needs}) agentmux` : 'agentmux';
    document.querySelector<HTMLLinkElement>('#favicon')?.setAttribute('href', needs ? NEED : CALM);
    const app = navigator as { setAppBadge?(n: number): Promise<void>; clearAppBadge?(): Promise<void> };
    void (needs ? app.setAppBadge?.(needs) : app.clearAppBadge?.())?.catch(() => undefined);
  });

  $effect(() => {
    if (!store.loaded) return;
    const now = shared.inbox.items.filter(isNeed);
    const keys = new Set(now.map((item) => item.key));
    for (const [key, note] of shown) {
      if (keys.has(key)) continue;
      note.close();
      shown.delete(key);
    }
    // What was there when the page opened is not news.
    const fresh = known ? now.filter((item) => !known!.has(item.key)) : [];
    known = keys;
    for (const item of fresh) {
      const who = item.is === 'ask' ? item.ask.agent : `${item.agent?.name}@${item.agent?.team}`;
      const what = item.is === 'ask' ? line(item.ask.title, 160) : 'needs a login';
      store.urgent = `${who} ${what}`;
      const isLooking = !document.hidden && document.hasFocus() && (place.route.at === 'inbox' || (place.route.at === 'agent' && place.route.agent === item.agent?.uid));
      if (isLooking || !prefs.notify.value || typeof Notification === 'undefined' || Notification.permission !== 'granted') continue;
      try {
        const note = new Notification(who, { body: what, tag: item.key, icon: '/icon.svg' });
        note.onclick = () => {
          focus();
          place.go({ at: 'inbox' });
        };
        shown.set(item.key, note);
      } catch {
        // Phones show notifications through the worker only.
        void navigator.serviceWorker?.ready.then((worker) => worker.showNotification(who, { body: what, tag: item.key, data: { hash: '#/inbox' } }));
      }
    }
  });
}
