// The count in the title, the favicon and the app badge; and notifications of what newly waits, taken back when it is resolved
// anywhere. Which kinds are told is the server's word (`notify.on`), whether this browser tells is its own. Of several tabs one
// tells, and nothing is said about what the person looks at in any of them.

import { place, prefs, store } from '../feed/store.svelte';
import { note, Told, type Note } from '../feed/attend';
import { isNeed, type Item } from '../feed/inbox';
import { shared } from './state.svelte';

const icon = (dot: string) =>
  `data:image/svg+xml,${encodeURIComponent(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#1c1b19"/><path d="M8 10.5h6M8 16h16M8 21.5h10" stroke="#fdfcfa" stroke-width="2.6" stroke-linecap="round"/>${dot}</svg>`)}`;
const CALM = icon('<circle cx="21" cy="10.5" r="2.7" fill="#79c99e"/>');

/** The number is in the picture, so that a row of tabs tells it without a word. */
const need = (n: number) => icon(`<circle cx="21.500" cy="10.500" r="10" fill="#f2b84b"/><text x="21.500" y="15.500" font-family="sans-serif" font-weight="700" font-size="14" text-anchor="middle" fill="#1c1b19">${n > 9 ? '9+' : n}</text>`);

const TELLS = 'agentmux.tells';
const LOOKS = 'agentmux.looks ';

/** What is on the screen of this tab and in front of a person. */
const looking = (): string | null => {
  if (document.hidden || !document.hasFocus()) return null;
  const route = place.route;
  return route.at === 'inbox' ? 'inbox' : route.at === 'agent' ? route.agent : null;
};

/** Every tab of this browser that is looked at says so by holding a lock; a tab that dies lets go of it. */
class Looks {
  private held = '';
  private release: (() => void) | null = null;
  say(at: string | null): void {
    if ((at ?? '') === this.held) return;
    this.release?.();
    this.release = null;
    this.held = at ?? '';
    if (at === null || !navigator.locks) return;
    const until = new Promise<void>((done) => (this.release = done));
    void navigator.locks.request(`${LOOKS}${at}`, { mode: 'shared' }, () => until);
  }
  async all(): Promise<Set<string>> {
    const mine = looking();
    const seen = new Set(mine === null ? [] : [mine]);
    const locks = await navigator.locks?.query();
    for (const { name } of locks?.held ?? []) if (name?.startsWith(LOOKS)) seen.add(name.slice(LOOKS.length));
    return seen;
  }
}

export function attention(): void {
  const shown = new Map<string, Notification | null>();
  const told = new Told();
  const looks = new Looks();
  // Without locks, which old browsers and pages without a safe origin lack, each tab is alone; the latter show nothing anyway.
  let tells = !navigator.locks;
  void navigator.locks?.request(TELLS, () => {
    tells = true;
    return new Promise<never>(() => undefined);
  });
  const look = () => looks.say(looking());
  for (const event of ['focus', 'blur']) addEventListener(event, look);
  document.addEventListener('visibilitychange', look);
  $effect(() => {
    void place.route;
    look();
  });

  $effect(() => {
    const { needs } = shared;
    document.title = needs ? `(${needs}) agentmux` : 'agentmux';
    document.querySelector<HTMLLinkElement>('#favicon')?.setAttribute('href', needs ? need(needs) : CALM);
    const app = navigator as { setAppBadge?(n: number): Promise<void>; clearAppBadge?(): Promise<void> };
    void (needs ? app.setAppBadge?.(needs) : app.clearAppBadge?.())?.catch(() => undefined);
  });

  const words = (key: string): string[] => {
    const value = store.rows.setting.get(key)?.value;
    return Array.isArray(value) ? value.filter((word): word is string => typeof word === 'string') : [];
  };
  const pause = () => Number(store.rows.setting.get('notify.pause_ms')?.value ?? 5000);

  $effect(() => {
    if (!store.loaded) return;
    const { items } = shared.inbox;
    const keys = new Set(items.map((item) => item.key));
    for (const key of shown.keys()) if (!keys.has(key) && key !== CROWD) retract(key);
    if (shown.has(CROWD) && ![...crowd].some((key) => keys.has(key))) retract(CROWD);
    const fresh = told.fresh(items, words('notify.on'));
    for (const item of fresh) {
      if (!isNeed(item)) continue;
      const { title, body } = note(item, isKnown);
      store.urgent = `${title} ${body}`;
    }
    if (fresh.length) void tell(fresh);
  });

  const CROWD = 'crowd';
  let crowd = new Set<string>();
  const isKnown = (sender: string) => sender === 'operator' || store.agentOf(sender) !== undefined;

  async function tell(fresh: Item[]): Promise<void> {
    if (!tells || !prefs.notify.value || typeof Notification === 'undefined' || Notification.permission !== 'granted') return;
    const seen = await looks.all();
    const news = fresh.filter((item) => !seen.has('inbox') && !(item.agent && seen.has(item.agent.uid)) && shared.inbox.items.some((one) => one.key === item.key));
    if (news.length === 0) return;
    const now = Date.now();
    const silent = !told.sound(news, now);
    if (told.split(news, now, pause()) === 'each') {
      for (const item of news) await show(note(item, isKnown), silent);
    } else {
      crowd = new Set([...crowd, ...news.map((item) => item.key)]);
      await show({ key: CROWD, title: 'agentmux', body: `${news.length} things wait for you`, hash: '#/inbox' }, silent);
    }
  }

  async function show({ key, title, body, hash }: Note, silent: boolean): Promise<void> {
    const options = { body, tag: key, icon: '/icon.svg', silent, data: { hash } };
    shown.set(key, null);
    try {
      const one = new Notification(title, options);
      one.onclick = () => {
        focus();
        location.hash = hash;
        one.close();
      };
      shown.set(key, one);
    } catch {
      // Phones show notifications through the worker only.
      await (await navigator.serviceWorker?.getRegistration())?.showNotification(title, options);
    }
  }

  function retract(key: string): void {
    const one = shown.get(key);
    shown.delete(key);
    if (key === CROWD) crowd = new Set();
    if (one) one.close();
    else void navigator.serviceWorker?.getRegistration().then(async (worker) => (await worker?.getNotifications({ tag: key }))?.forEach((left) => left.close()));
  }
}
