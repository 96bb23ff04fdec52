// The count in the title, the favicon and the app badge; and notifications of what newly waits, taken back when it is resolved
// anywhere. Which kinds are told is the server's word (`notify.on`), whether this browser tells is its own. Of several tabs one
// tells, and nothing is said about what the person looks at in any of them.

import { place, prefs, store } from '../feed/store.svelte';
import { CROWD, gathered, looked, note, Told, type Note } from '../feed/attend';
import { comesBack, isNeed, type Item } from '../feed/inbox';
import { notes } from '../feed/notes.svelte';
import { paneHere } from '../keys/commands';
import { place as placed } from '../layout/tree';
import { shared } from './state.svelte';

const icon = (dot: string) =>
  `data:image/svg+xml,${encodeURIComponent(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#1c1b19"/><path d="M8 10.5h6M8 16h16M8 21.5h10" stroke="#fdfcfa" stroke-width="2.6" stroke-linecap="round"/>${dot}</svg>`)}`;
const CALM = icon('<circle cx="21" cy="10.5" r="2.7" fill="#79c99e"/>');

/** The number is in the picture, so that a row of tabs tells it without a word. */
const need = (n: number) => icon(`<circle cx="21.500" cy="10.500" r="10" fill="#f2b84b"/><text x="21.500" y="15.500" font-family="sans-serif" font-weight="700" font-size="14" text-anchor="middle" fill="#1c1b19">${n > 9 ? '9+' : n}</text>`);

const TELLS = 'agentmux.tells';
const LOOKS = 'agentmux.looks ';

/** A timer of more than 24 days is due at once. */
const WAIT_MS_MAX = 86_400_000;

/** A tab of this width shows one of its panes. */
const narrow = matchMedia('(max-width: 699px)');

/** What is on the screen of this tab. */
function screen(): string[] {
  const route = place.route;
  if (route.at === 'inbox') return ['inbox'];
  if (route.at === 'agent') return [route.agent];
  if (route.at !== 'tab') return [];
  const { tiles } = placed(store.rows.tab.get(route.tab)?.root ?? null);
  const isHere = (pane: string | null | undefined) => tiles.some((tile) => pane && tile.panes.includes(pane));
  const alone = isHere(place.magnified) ? place.magnified : narrow.matches ? paneHere() : null;
  const drawn = alone ? tiles.filter((tile) => tile.panes.includes(alone)) : tiles;
  return looked(drawn.flatMap((tile) => store.rows.pane.get(tile.active)?.content ?? []));
}

/** What of it is in front of a person. */
const looking = (): string[] => (document.hidden || !document.hasFocus() ? [] : screen());

/** Every tab of this browser that is looked at says so by holding a lock; a tab that dies lets go of it. */
class Looks {
  private readonly held = new Map<string, () => void>();
  say(at: readonly string[]): void {
    for (const [one, release] of this.held) {
      if (at.includes(one)) continue;
      this.held.delete(one);
      release();
    }
    if (!navigator.locks) return;
    for (const one of at) {
      if (this.held.has(one)) continue;
      const until = new Promise<void>((done) => this.held.set(one, done));
      void navigator.locks.request(`${LOOKS}${one}`, { mode: 'shared' }, () => until);
    }
  }
  async all(): Promise<Set<string>> {
    const seen = new Set(looking());
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
  narrow.addEventListener('change', look);
  $effect(() => {
    // Also while nobody looks: what it depends on is to be known then.
    void screen();
    look();
  });

  // A page that nobody sees has no clock of its own; what was put off comes back there too.
  $effect(() => {
    const snoozed = notes.snoozed.value;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const wait = () => {
      const at = comesBack(snoozed, Date.now());
      if (at === null) return;
      timer = setTimeout(() => ((store.now = Date.now()), wait()), Math.min(at - Date.now(), WAIT_MS_MAX));
    };
    wait();
    return () => clearTimeout(timer);
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
      for (const [i, item] of news.entries()) await show(note(item, isKnown), silent || i > 0);
    } else {
      // Some of them may be answered by now.
      const all = shared.inbox.items.filter((item) => crowd.has(item.key) || news.some((one) => one.key === item.key));
      crowd = new Set(all.map((item) => item.key));
      await show(gathered(all, isKnown), silent);
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
