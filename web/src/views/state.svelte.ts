// What several views share: the inbox, acts on agents with their words, and the panes of the place one is at.

import type { Content, Pane, Place } from '../proto';
import { place as placed, roomiest } from '../layout/tree';
import { inbox, isNeed } from '../feed/inbox';
import { label, place, prefs, store, uuid, type Agent, type Ask } from '../feed/store.svelte';
import type { Item as MenuItem } from '../ui/Menu.svelte';

class Derived {
  inbox = $derived.by(() =>
    inbox(
      { agents: store.agents, asks: store.asks, messages: store.messages },
      { muted: prefs.muted.value, snoozed: prefs.snoozed.value, seen: prefs.seen.value },
      Math.floor(store.now / 10_000) * 10_000,
    ),
  );
  needs = $derived(this.inbox.items.filter(isNeed).length);
  /** Groups of the rail: by team, each in this device's order. */
  teams = $derived.by(() => {
    const order = new Map(prefs.order.value.map((uid, at) => [uid, at]));
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
  if (prefs.seen.value[key] !== at) prefs.seen.value = { ...prefs.seen.value, [key]: at };
}

export function snooze(key: string, minutes: number): void {
  const now = Date.now();
  const kept = Object.fromEntries(Object.entries(prefs.snoozed.value).filter(([, until]) => until > now));
  prefs.snoozed.value = { ...kept, [key]: now + minutes * 60_000 };
}

export const isMuted = (agent: Agent): boolean => prefs.muted.value.includes(agent.uid);

export function mute(agent: Agent): void {
  const others = prefs.muted.value.filter((uid) => uid !== agent.uid);
  prefs.muted.value = isMuted(agent) ? others : [...others, agent.uid];
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
