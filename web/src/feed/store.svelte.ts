// What every view reads: the board as reactive tables, the state of the connection, and this device's own view state. Shared
// things are rows of the server; what differs from device to device (place, focus, theme) stays here.

import type {
  BoardAgent,
  BoardRequest,
  BoardServer,
  BoardSetting,
  BoardWorkspace,
  Closed,
  Commands,
  KindEntity,
  MessageView,
  Pane,
  Queries,
  Tab,
  Team,
} from '../proto';
import { apply, empty, type RowsFrame, type Table } from './board';
import { browserDoors, Link, Refused, uuid, type LinkState } from './link';

export type { BoardAgent as Agent, BoardRequest as Ask, MessageView as Message };

type Rows = {
  agent: BoardAgent;
  team: Team;
  request: BoardRequest;
  message: MessageView;
  workspace: BoardWorkspace;
  tab: Tab;
  pane: Pane;
  closed: Closed;
  kind: KindEntity;
  setting: BoardSetting;
  server: BoardServer;
};

class Tables {
  agent = $state.raw<Map<string, BoardAgent>>(new Map());
  team = $state.raw<Map<string, Team>>(new Map());
  request = $state.raw<Map<string, BoardRequest>>(new Map());
  message = $state.raw<Map<string, MessageView>>(new Map());
  workspace = $state.raw<Map<string, BoardWorkspace>>(new Map());
  tab = $state.raw<Map<string, Tab>>(new Map());
  pane = $state.raw<Map<string, Pane>>(new Map());
  closed = $state.raw<Map<string, Closed>>(new Map());
  kind = $state.raw<Map<string, KindEntity>>(new Map());
  setting = $state.raw<Map<string, BoardSetting>>(new Map());
  server = $state.raw<Map<string, BoardServer>>(new Map());
}

export type Toast = { id: number; text: string; tone: 'plain' | 'bad'; hint?: string; act?: { label: string; run(): void } };

const VERSION = '1';

class Store {
  readonly rows = new Tables();
  link = $state.raw<LinkState>({ is: 'connecting' });
  /** The first board has come: before it nothing is said to be empty. */
  loaded = $state(false);
  /** The server has other pages than this one by now. */
  isOld = $state(false);
  now = $state(Date.now());
  toasts = $state.raw<Toast[]>([]);
  /** Said to screen readers. */
  polite = $state('');
  urgent = $state('');
  readonly wire: Link;
  private board = empty();

  constructor() {
    this.wire = new Link(
      browserDoors(),
      (state) => {
        // Another server may have been started meanwhile, which has no other parts of this page to load.
        if (state.is === 'open' && this.loaded) void this.compare();
        this.link = state;
      },
      VERSION,
    );
  }

  private async compare(): Promise<void> {
    const mine = document.querySelector('script[type=module]')?.getAttribute('src');
    const now = await fetch('/', { cache: 'no-store' }).then((answer) => (answer.ok ? answer.text() : null)).catch(() => null);
    if (mine && now !== null) this.isOld = !now.includes(mine);
  }

  agents = $derived.by(() => [...this.rows.agent.values()].filter((agent) => !agent.removing).sort(byName));
  server = $derived.by(() => [...this.rows.server.values()][0]);
  workspaces = $derived.by(() => [...this.rows.workspace.values()].sort((a, b) => a.index - b.index));
  asks = $derived.by(() => [...this.rows.request.values()].sort((a, b) => (a.created < b.created ? -1 : 1)));
  messages = $derived.by(() => [...this.rows.message.values()].sort((a, b) => (a.created < b.created ? -1 : a.created > b.created ? 1 : a.id < b.id ? -1 : 1)));

  start(): void {
    const watch = this.wire.stream({
      open: () => ({ watch: {} }),
      frame: (frame) => {
        const step = apply(this.board, frame.rows as RowsFrame);
        if (step.outcome === 'gap') {
          watch.again();
          return;
        }
        this.board = step.board;
        for (const table of step.touched) this.show(table);
        this.loaded = true;
      },
      refused: (failure) => this.say(failure.message, 'bad'),
    });
    this.wire.start();
    setInterval(() => {
      if (!document.hidden) this.now = Date.now();
    }, 1000);
    const nudge = () => {
      if (document.hidden) return;
      this.now = Date.now();
      this.wire.nudge();
    };
    addEventListener('online', nudge);
    document.addEventListener('visibilitychange', nudge);
  }

  private show<T extends Table>(table: T): void {
    (this.rows[table] as Map<string, Rows[T]>) = (this.board.tables.get(table) ?? new Map()) as Map<string, Rows[T]>;
  }

  get<Q extends keyof Queries, A = unknown>(question: Q, args: Partial<Queries[Q]> = {}): Promise<A> {
    return this.wire.get<A>(question, args);
  }

  /** Done or not, the person is told: what failed says why. `undefined`: it failed. */
  async cmd<C extends keyof Commands>(name: C, args: Partial<Commands[C]>, expect?: number): Promise<unknown> {
    try {
      return (await this.wire.cmd(name, args, expect)) ?? {};
    } catch (error) {
      this.failed(error);
      return undefined;
    }
  }

  failed(error: unknown): void {
    if (error instanceof Refused) this.say(error.failure.message, 'bad', error.failure.hint ?? undefined);
    else this.say(error instanceof Error ? error.message : String(error), 'bad');
  }

  say(text: string, tone: Toast['tone'] = 'plain', hint?: string, act?: Toast['act']): void {
    const toast: Toast = { id: Math.random(), text, tone, ...(hint ? { hint } : {}), ...(act ? { act } : {}) };
    this.toasts = [...this.toasts.slice(-3), toast];
    if (tone === 'bad') this.urgent = text;
    else this.polite = text;
    setTimeout(() => this.unsay(toast.id), tone === 'bad' ? 9000 : act ? 8000 : 4000);
  }

  unsay(id: number): void {
    this.toasts = this.toasts.filter((toast) => toast.id !== id);
  }

  agentOf(label: string): BoardAgent | undefined {
    return this.labels.get(label);
  }

  private labels = $derived.by(() => new Map(this.agents.map((agent) => [`${agent.name}@${agent.team}`, agent])));
}

/** `a2` before `a10`. */
const words = new Intl.Collator('en', { numeric: true });

export const byName = (a: BoardAgent, b: BoardAgent): number => words.compare(a.team, b.team) || words.compare(a.name, b.name);

export const label = (agent: BoardAgent): string => `${agent.name}@${agent.team}`;

export const store = new Store();

/** Kept by this browser, and by nobody else. */
export class Kept<T> {
  private held: T;
  private version = $state(0);
  private writes = 0;

  constructor(
    private readonly key: string,
    private readonly start: T,
    /** Where one is in a window is not changed from another. */
    whose: 'browser' | 'window' = 'browser',
  ) {
    this.held = this.read();
    if (whose === 'window') return;
    addEventListener('storage', (event) => {
      if (event.key !== `agentmux.${key}` && event.key !== null) return;
      this.held = this.read();
      this.version = this.writes += 1;
    });
  }

  private read(): T {
    try {
      const text = localStorage.getItem(`agentmux.${this.key}`);
      if (text !== null) return JSON.parse(text) as T;
    } catch {
      // A browser that keeps nothing starts anew each time.
    }
    return this.start;
  }

  get value(): T {
    void this.version;
    return this.held;
  }

  set value(value: T) {
    this.held = value;
    // Not read here: who writes in an effect must not wait for itself.
    this.version = this.writes += 1;
    try {
      localStorage.setItem(`agentmux.${this.key}`, JSON.stringify(value));
    } catch {
      // Full or forbidden: it holds until the page closes.
    }
  }
}

/** A browser that is told to save data says so, where it says anything. */
const savesData = (): boolean => (navigator as Navigator & { connection?: { saveData?: boolean } }).connection?.saveData === true;

export type ThemeName = 'system' | 'light' | 'dark' | 'contrast';

export const prefs = {
  theme: new Kept<ThemeName>('theme', 'system'),
  enterSends: new Kept('enter_sends', true),
  keys: new Kept('single_keys', true),
  thinking: new Kept('thinking', false),
  /** Changes of files beside each other where there is room, and without those of white space. */
  diffSides: new Kept('diff_sides', false),
  diffSpace: new Kept('diff_space', true),
  notify: new Kept('notify', false),
  /** What agents say and print is fetched when it is asked for, and does not stream. */
  dataSaver: new Kept('data_saver', savesData()),
  folded: new Kept<string[]>('folded', []),
  workspace: new Kept<string | null>('workspace', null, 'window'),
  /** Tab → pane with this device's focus. */
  focus: new Kept<Record<string, string>>('focus', {}, 'window'),
};

// ---- where this browser is: the hash.

export type Route =
  | { at: 'inbox' }
  | { at: 'agents' }
  | { at: 'agent'; agent: string }
  | { at: 'tab'; tab: string }
  | { at: 'messages'; thread?: string; graph?: boolean }
  | { at: 'new'; team?: boolean }
  | { at: 'events' }
  | { at: 'system' }
  | { at: 'settings' };

export function parse(hash: string): Route {
  const [at, id] = hash.replace(/^#\/?/, '').split('/').map(decodeURIComponent);
  switch (at) {
    case 'agent':
      return id ? { at: 'agent', agent: id } : { at: 'agents' };
    case 'tab':
      return id ? { at: 'tab', tab: id } : { at: 'inbox' };
    case 'messages':
      return id === 'graph' ? { at: 'messages', graph: true } : id ? { at: 'messages', thread: id } : { at: 'messages' };
    case 'new':
      return id === 'team' ? { at: 'new', team: true } : { at: 'new' };
    case 'agents':
    case 'events':
    case 'system':
    case 'settings':
      return { at };
    default:
      return { at: 'inbox' };
  }
}

export const href = (route: Route): string => {
  const id = route.at === 'agent' ? route.agent : route.at === 'tab' ? route.tab : route.at === 'messages' ? (route.graph ? 'graph' : route.thread) : route.at === 'new' && route.team ? 'team' : undefined;
  return `#/${route.at}${id ? `/${encodeURIComponent(id)}` : ''}`;
};

class Place {
  route = $state.raw<Route>(parse(location.hash));
  palette = $state<null | 'all' | 'agents'>(null);
  sheet = $state(false);
  drawer = $state(false);
  /** The pane that fills its tab, on this device alone. */
  magnified = $state<string | null>(null);
  constructor() {
    addEventListener('hashchange', () => {
      if (!location.hash.startsWith('#code=')) this.route = parse(location.hash);
    });
  }
  go(route: Route): void {
    location.hash = href(route);
    this.drawer = false;
    this.palette = null;
  }
}

export const place = new Place();

export { uuid };
