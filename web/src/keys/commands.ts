// Every command of the interface, once: palette, shortcut sheet, menus and tooltips read this list.

import { href, label, place, prefs, store, uuid, type Route } from '../feed/store.svelte';
import type { IconName } from '../ui/icons';
import { cycled, neighbour, place as tiles, type Toward } from '../layout/tree';
import { shared, interrupt, newTab, openBeside, restart, start, stop } from '../views/state.svelte';
import { waysThrough } from '../views/jump.svelte';
import type { Scope } from './keymap';

export type Command = {
  id: string;
  label: string;
  group: 'Go' | 'Agent' | 'Layout' | 'View' | 'Inbox';
  icon?: IconName;
  keys?: string[];
  scope?: Scope;
  /** Only where it would do something. */
  when?: () => boolean;
  run?: () => unknown;
};

const go = (route: Route) => () => place.go(route);

export const agentHere = () => {
  const route = place.route;
  if (route.at === 'agent') return store.rows.agent.get(route.agent);
  const pane = paneHere();
  const content = pane ? store.rows.pane.get(pane)?.content : undefined;
  return content?.type === 'agent' ? store.rows.agent.get(content.agent) : undefined;
};

export const tabHere = () => (place.route.at === 'tab' ? store.rows.tab.get(place.route.tab) : undefined);

export function paneHere(): string | undefined {
  const tab = tabHere();
  if (!tab) return undefined;
  const mine = prefs.focus.value[tab.id];
  const all = tiles(tab.root).tiles;
  if (mine && all.some((tile) => tile.panes.includes(mine))) return mine;
  return tab.focus ?? all[0]?.active;
}

/** `type`: its text field too, which on a phone brings up the keyboard. */
export function focusPane(pane: string | null | undefined, type = true): void {
  const tab = tabHere();
  if (!tab || !pane) return;
  prefs.focus.value = { ...prefs.focus.value, [tab.id]: pane };
  requestAnimationFrame(() => {
    const root = document.querySelector<HTMLElement>(`[data-pane="${pane}"]`);
    const field = type ? root?.querySelector<HTMLElement>('.xterm-helper-textarea, textarea') : null;
    (field ?? root)?.focus({ preventScroll: true });
  });
}

function toward(way: Toward): () => void {
  return () => {
    const tab = tabHere();
    const pane = paneHere();
    if (tab && pane) focusPane(neighbour(tiles(tab.root).tiles, pane, way));
  };
}

export async function split(side: 'right' | 'down', from = paneHere()): Promise<void> {
  if (!from) return;
  const id = uuid();
  if (await store.cmd('pane.open', { id, content: { type: 'empty' }, place: { type: 'beside', pane: from, side } })) focusPane(id);
}

export async function closePane(pane = paneHere()): Promise<void> {
  if (!pane) return;
  if (await store.cmd('pane.close', { pane })) {
    store.say('Pane closed; what it showed lives on', 'plain', undefined, { label: 'Undo', run: () => void store.cmd('layout.reopen', {}) });
  }
}

const inTab = () => tabHere() !== undefined;
const hasPane = () => paneHere() !== undefined;
const hasAgent = () => agentHere() !== undefined;
const isWholePage = () => place.route.at === 'agent' && hasAgent();
const ways = () => waysThrough(agentHere()?.uid);
const hasWays = () => ways() !== undefined;

function nextNeed(): void {
  const item = shared.inbox.items.find((one) => one.agent !== undefined);
  if (item?.agent) place.go({ at: 'agent', agent: item.agent.uid });
  else place.go({ at: 'inbox' });
}

function stepAgent(step: 1 | -1): () => void {
  return () => {
    const all = shared.teams.flatMap(([, agents]) => agents);
    const at = all.findIndex((agent) => agent.uid === agentHere()?.uid);
    const next = all[(at + step + all.length) % all.length];
    if (next) place.go({ at: 'agent', agent: next.uid });
  };
}

function stepTab(step: 1 | -1): () => void {
  return () => {
    const tabs = shared.workspace?.tabs ?? [];
    const at = tabs.indexOf(tabHere()?.id ?? '');
    const next = tabs[(at + step + tabs.length) % tabs.length];
    if (next) place.go({ at: 'tab', tab: next });
  };
}

export const COMMANDS: readonly Command[] = [
  { id: 'palette', label: 'Find anything', group: 'Go', icon: 'search', keys: ['mod+k', 'mod+shift+p'], scope: 'always', run: () => (place.palette = place.palette ? null : 'all') },
  { id: 'go.inbox', label: 'Inbox', group: 'Go', icon: 'inbox', keys: ['g i'], run: go({ at: 'inbox' }) },
  { id: 'go.next', label: 'Next that waits for you', group: 'Go', icon: 'bell', keys: ['n', 'mod+shift+u'], run: nextNeed },
  { id: 'go.agents', label: 'All agents', group: 'Go', icon: 'agents', keys: ['g a'], run: go({ at: 'agents' }) },
  { id: 'go.messages', label: 'Messages', group: 'Go', icon: 'messages', keys: ['g m'], run: go({ at: 'messages' }) },
  { id: 'go.graph', label: 'Who talks to whom', group: 'Go', icon: 'graph', keys: ['g g'], run: go({ at: 'messages', graph: true }) },
  { id: 'go.layout', label: 'Workspace', group: 'Go', icon: 'splitright', keys: ['g w'], run: () => void goLayout() },
  { id: 'go.events', label: 'Events', group: 'Go', icon: 'events', keys: ['g e'], run: go({ at: 'events' }) },
  { id: 'go.system', label: 'System', group: 'Go', icon: 'system', keys: ['g s'], run: go({ at: 'system' }) },
  { id: 'go.settings', label: 'Settings', group: 'Go', icon: 'settings', keys: ['g ,'], run: go({ at: 'settings' }) },
  { id: 'agent.next', label: 'Next agent', group: 'Go', keys: [']'], run: stepAgent(1) },
  { id: 'agent.prev', label: 'Previous agent', group: 'Go', keys: ['['], run: stepAgent(-1) },

  { id: 'agent.new', label: 'New agent', group: 'Agent', icon: 'plus', keys: ['c'], run: go({ at: 'new' }) },
  { id: 'team.file', label: 'New team, or a team file', group: 'Agent', icon: 'agents', run: go({ at: 'new', team: true }) },
  { id: 'agent.start', label: 'Start this agent', group: 'Agent', icon: 'play', when: () => agentHere()?.is_live === false, run: () => start(agentHere()!) },
  { id: 'agent.interrupt', label: 'Interrupt its turn', group: 'Agent', icon: 'stop', keys: ['mod+.'], scope: 'always', when: hasAgent, run: () => void interrupt(agentHere()!) },
  { id: 'agent.restart', label: 'Restart this agent', group: 'Agent', icon: 'restart', when: hasAgent, run: () => restart(agentHere()!) },
  { id: 'agent.stop', label: 'Stop this agent', group: 'Agent', icon: 'stop', when: () => agentHere()?.is_live === true, run: () => stop(agentHere()!) },
  { id: 'agent.compose', label: 'Write to this agent', group: 'Agent', icon: 'edit', keys: ['i'], when: hasAgent, run: () => document.querySelector<HTMLElement>('main textarea.compose, main .xterm-helper-textarea')?.focus() },
  { id: 'agent.split', label: 'Open this agent in a split', group: 'Agent', icon: 'splitright', when: isWholePage, run: () => openBeside(agentHere()!) },

  { id: 'doc.prev', label: 'Message to it before', group: 'Agent', icon: 'up', keys: ['alt+arrowup'], when: hasWays, run: () => ways()?.step(-1) },
  { id: 'doc.next', label: 'Message to it after', group: 'Agent', icon: 'down', keys: ['alt+arrowdown'], when: hasWays, run: () => ways()?.step(1) },
  { id: 'doc.first', label: 'Beginning of what it said', group: 'Agent', keys: ['alt+shift+arrowup'], when: hasWays, run: () => ways()?.first() },
  { id: 'doc.last', label: 'End of what it said', group: 'Agent', keys: ['alt+shift+arrowdown'], when: hasWays, run: () => ways()?.last() },
  { id: 'doc.jump', label: 'Jump to a time', group: 'Agent', icon: 'clock', keys: ['g t'], when: hasWays, run: () => ways()?.ask() },

  { id: 'tab.new', label: 'New tab', group: 'Layout', icon: 'plus', keys: ['t'], run: () => void newTab().then((tab) => tab && place.go({ at: 'tab', tab })) },
  { id: 'tab.next', label: 'Next tab', group: 'Layout', keys: ['mod+alt+]'], scope: 'always', when: inTab, run: stepTab(1) },
  { id: 'tab.prev', label: 'Previous tab', group: 'Layout', keys: ['mod+alt+['], scope: 'always', when: inTab, run: stepTab(-1) },
  { id: 'pane.right', label: 'Split to the right', group: 'Layout', icon: 'splitright', keys: ['mod+\\'], scope: 'always', when: () => hasPane() || isWholePage(), run: () => (hasPane() ? split('right') : openBeside(agentHere()!)) },
  { id: 'pane.down', label: 'Split downwards', group: 'Layout', icon: 'splitdown', keys: ['mod+shift+|', 'mod+shift+\\'], scope: 'always', when: hasPane, run: () => split('down') },
  { id: 'pane.magnify', label: 'Magnify the pane (here only)', group: 'Layout', icon: 'magnify', keys: ['mod+shift+enter'], scope: 'always', when: hasPane, run: () => (place.magnified = place.magnified ? null : (paneHere() ?? null)) },
  { id: 'pane.close', label: 'Close the pane', group: 'Layout', icon: 'close', keys: ['x'], when: hasPane, run: () => closePane() },
  { id: 'layout.reopen', label: 'Reopen what was closed', group: 'Layout', icon: 'undo', keys: ['mod+shift+z'], run: () => store.cmd('layout.reopen', {}) },
  { id: 'pane.go_left', label: 'Pane to the left', group: 'Layout', keys: ['mod+shift+arrowleft'], scope: 'always', when: inTab, run: toward('left') },
  { id: 'pane.go_right', label: 'Pane to the right', group: 'Layout', keys: ['mod+shift+arrowright'], scope: 'always', when: inTab, run: toward('right') },
  { id: 'pane.go_up', label: 'Pane above', group: 'Layout', keys: ['mod+shift+arrowup'], scope: 'always', when: inTab, run: toward('up') },
  { id: 'pane.go_down', label: 'Pane below', group: 'Layout', keys: ['mod+shift+arrowdown'], scope: 'always', when: inTab, run: toward('down') },
  {
    id: 'pane.cycle',
    label: 'Next pane',
    group: 'Layout',
    keys: ['f6'],
    scope: 'always',
    when: inTab,
    run: () => focusPane(cycled(tiles(tabHere()!.root).tiles, paneHere() ?? null, 1)),
  },

  { id: 'sheet', label: 'Keyboard shortcuts', group: 'View', icon: 'keyboard', keys: ['?'], run: () => (place.sheet = !place.sheet) },
  { id: 'theme.light', label: 'Theme: light', group: 'View', run: () => (prefs.theme.value = 'light') },
  { id: 'theme.dark', label: 'Theme: dark', group: 'View', run: () => (prefs.theme.value = 'dark') },
  { id: 'theme.contrast', label: 'Theme: high contrast', group: 'View', run: () => (prefs.theme.value = 'contrast') },
  { id: 'theme.system', label: 'Theme: as the system', group: 'View', run: () => (prefs.theme.value = 'system') },
  { id: 'data.save', label: 'Data saver: on, no live text', group: 'View', when: () => !prefs.dataSaver.value, run: () => saveData(true) },
  { id: 'data.spend', label: 'Data saver: off, text comes as it is written', group: 'View', when: () => prefs.dataSaver.value, run: () => saveData(false) },
  { id: 'thinking', label: 'Show or hide thinking', group: 'View', keys: ['h'], run: () => (prefs.thinking.value = !prefs.thinking.value) },

  // Heard by the row under the focus; here for the sheet.
  { id: 'rail.walk', label: 'In the list of agents: next, previous', group: 'Agent', keys: ['arrowdown', 'arrowup'] },
  { id: 'rail.move', label: 'In the list of agents: move it down, up', group: 'Agent', keys: ['alt+arrowdown', 'alt+arrowup'] },
  { id: 'compose.command', label: 'In a message: a command of its CLI', group: 'Agent', keys: ['/'] },
  { id: 'compose.name', label: 'In a message: an agent or a file', group: 'Agent', keys: ['@'] },
  { id: 'inbox.move', label: 'Next, previous row', group: 'Inbox', keys: ['j', 'k'] },
  { id: 'inbox.allow', label: 'Allow', group: 'Inbox', keys: ['a'] },
  { id: 'inbox.deny', label: 'Deny', group: 'Inbox', keys: ['d'] },
  { id: 'inbox.done', label: 'Dismiss', group: 'Inbox', keys: ['e'] },
  { id: 'inbox.snooze', label: 'Put off an hour', group: 'Inbox', keys: ['s'] },
];

function saveData(saves: boolean): void {
  prefs.dataSaver.value = saves;
  store.say(saves ? 'Live text is off on this device' : 'Text comes as it is written');
}

async function goLayout(): Promise<void> {
  const tab = shared.workspace?.active ?? shared.workspace?.tabs[0] ?? (await newTab());
  if (tab) place.go({ at: 'tab', tab });
}

export const keysOf = (id: string): string | undefined => COMMANDS.find((command) => command.id === id)?.keys?.[0];

export const canRun = (command: Command): boolean => command.run !== undefined && (command.when?.() ?? true);

export { href, label };
