// What several views share: the inbox, acts on agents with their words, and the panes of the place one is at.

import type { Content, Pane, Place } from '../proto';
import { place as placed, roomiest } from '../layout/tree';
import { inbox, needs, STEP_MS } from '../feed/inbox';
import { notes } from '../feed/notes.svelte';
import { label, place, prefs, store, uuid, type Agent, type Ask } from '../feed/store.svelte';
import type { Item as MenuItem } from '../ui/Menu.svelte';

class Derived {
  inbox = $derived.by(() =>
    inbox(
      { agents: store.agents, asks: store.asks, messages: store.messages },
      { muted: notes.muted.value, snoozed: notes.snoozed.value, seen: notes.seen.value },
      Math.floor(store.now / STEP_MS) * STEP_MS,
    ),
  );
  needs = $derived(needs(this.inbox.items));
  /** Letters for the person from each agent, by `name@team`. */
  letters = $derived.by(() => {
    const from = new Map<string, number>();
    for (const item of this.inbox.items) if (item.is === 'mail') from.set(item.message.from, (from.get(item.message.from) ?? 0) + 1);
    return from;
  });
  /** Groups of the rail: by team, each in the order a person gave it. */
  teams = $derived.by(() => {
    const order = new Map(notes.order.value.map((uid, at) => [uid, at]));
    const groups = new Map<string, Agent[]>();
    for (const agent of store.agents) {
      const group = groups.get(agent.team);
      if (group) group.push(agent);
      else groups.set(agent.team, [agent]);
    }
    for (const group of groups.values()) group.sort((a, b) => (order.get(a.uid) ?? 1e9) - (order.get(b.uid) ?? 1e9));
    // What nobody gave a team stands last.
    return [...groups].sort(([a], [b]) => Number(a === 'default') - Number(b === 'default'));
  });
  workspace = $derived.by(() => {
    const route = place.route;
    const of = route.at === 'tab' ? store.rows.tab.get(route.tab)?.workspace : undefined;
    return store.workspaces.find((one) => one.id === (of ?? prefs.workspace.value)) ?? store.workspaces[0];
  });
}

export const shared = new Derived();

export function seen(key: string, at: string): void {
  // Put last: the oldest go when there are too many.
  if (notes.seen.value[key] !== at) notes.seen.change(({ [key]: _, ...others }) => ({ ...others, [key]: at }));
}

export function unseen(key: string): void {
  notes.seen.change(({ [key]: _, ...others }) => others);
}

export function snooze(key: string, minutes: number): void {
  const until = Date.now() + minutes * 60_000;
  notes.snoozed.change((all) => ({ ...all, [key]: until }));
  store.say(minutes < 60 ? `Put off ${minutes} minutes` : minutes === 60 ? 'Put off an hour' : 'Put off until tomorrow', 'plain', undefined, { label: 'Undo', run: () => bringBack([key]) });
}

export function bringBack(keys: readonly string[]): void {
  notes.snoozed.change((all) => Object.fromEntries(Object.entries(all).filter(([key]) => !keys.includes(key))));
}

export const isMuted = (agent: Agent): boolean => notes.muted.value.includes(agent.uid);

export function mute(agent: Agent): void {
  const was = isMuted(agent);
  notes.muted.change((all) => [...all.filter((uid) => uid !== agent.uid), ...(was ? [] : [agent.uid])]);
}

/** `uid` stands where `before` stood; at the end without one. */
export function placeBefore(uid: string, before: string | null): void {
  const now = shared.teams.flatMap(([, agents]) => agents.map((agent) => agent.uid));
  notes.order.change((all) => {
    // What was never moved stands where it stands.
    const known = new Set(all);
    const list = [...all, ...now.filter((other) => !known.has(other))].filter((other) => other !== uid);
    const at = before === null ? -1 : list.indexOf(before);
    list.splice(at < 0 ? list.length : at, 0, uid);
    return list;
  });
}

export async function decide(ask: Ask, option: string, text?: string): Promise<void> {
  const answer = option === '' ? { type: 'text' as const, text: text ?? '' } : { type: 'option' as const, option, ...(text ? { text } : {}) };
  await store.cmd('request.decide', { request: ask.id, answer });
}

export const start = (agent: Agent) => store.cmd('agent.start', { agent: agent.uid });
export const restart = (agent: Agent) => store.cmd('agent.restart', { agent: agent.uid });
export const interrupt = (agent: Agent) => store.cmd('agent.interrupt', { agent: agent.uid });

/** Says what it will end first: a stop is undone by a start, but a turn is lost. */
export function stop(agent: Agent): void {
  void store.cmd('agent.stop', { agent: agent.uid }).then((done) => {
    if (done) store.say(`${label(agent)} is asked to stop`, 'plain', undefined, { label: 'Start again', run: () => void start(agent) });
  });
}

export function acts(agent: Agent): MenuItem[] {
  const isLive = agent.is_live;
  return [
    { label: 'Open in a split', icon: 'splitright', run: () => void openBeside(agent) },
    { label: isMuted(agent) ? 'Unmute' : 'Mute', icon: isMuted(agent) ? 'bell' : 'mute', run: () => mute(agent) },
    { label: agent.mail?.paused ? 'Deliver mail again' : 'Hold its mail', icon: agent.mail?.paused ? 'play' : 'pause', run: () => void store.cmd('agent.mail', { agent: agent.uid, paused: !agent.mail?.paused }) },
    'line',
    { label: 'Interrupt turn', icon: 'stop', disabled: !isLive, run: () => void interrupt(agent) },
    { label: 'Restart', icon: 'restart', disabled: !isLive, run: () => void restart(agent) },
    isLive ? { label: 'Stop', icon: 'stop', bad: true, run: () => stop(agent) } : { label: 'Start', icon: 'play', run: () => void start(agent) },
    { label: 'Remove…', icon: 'trash', bad: true, run: () => (confirm.ask = { agent }) },
  ];
}

class Confirm {
  ask = $state.raw<{ agent: Agent } | null>(null);
}
export const confirm = new Confirm();

/** The tab this device is at, or the first there is, or a new one. */
export async function someTab(): Promise<string | undefined> {
  const route = place.route;
  if (route.at === 'tab' && store.rows.tab.has(route.tab)) return route.tab;
  const workspace = shared.workspace;
  const tab = workspace?.active ?? workspace?.tabs[0];
  if (tab) return tab;
  return newTab();
}

export async function newTab(content?: Content): Promise<string | undefined> {
  let workspace = shared.workspace?.id;
  if (!workspace) {
    workspace = uuid();
    if (!(await store.cmd('workspace.create', { id: workspace, name: 'main' }))) return undefined;
  }
  const id = uuid();
  const done = await store.cmd('tab.create', { id, workspace, name: 'tab', ...(content ? { content, pane: uuid() } : {}) });
  return done ? id : undefined;
}

export async function openContent(content: Content): Promise<void> {
  const tab = await someTab();
  if (!tab) return;
  const pane = uuid();
  const beside = roomiest(placed(store.rows.tab.get(tab)?.root ?? null).tiles);
  const target: Place = beside ? { type: 'beside', ...beside } : { type: 'tab', tab };
  if (await store.cmd('pane.open', { id: pane, content, place: target })) {
    prefs.focus.value = { ...prefs.focus.value, [tab]: pane };
    place.go({ at: 'tab', tab });
  }
}

export const openBeside = (agent: Agent) => openContent({ type: 'agent', agent: agent.uid });

export function paneTitle(pane: Pane): string {
  if (pane.title) return pane.title;
  if (pane.content.type === 'agent') {
    const agent = store.rows.agent.get(pane.content.agent);
    return agent ? label(agent) : 'an agent that is gone';
  }
  return pane.content.type === 'view' ? (VIEWS[pane.content.view] ?? pane.content.view) : 'empty';
}

export const VIEWS: Record<string, string> = { inbox: 'Inbox', messages: 'Messages', events: 'Events', system: 'System', settings: 'Settings' };
