// The document of a run: a pure fold of transcript entries into nodes. Live, reload and replay call the same function, and
// feeding entries one by one gives the same nodes as feeding them at once. Nodes are never changed in place: one that
// changed is another object, so a view compares identities.
//
// A node that still streams stands last until it closes. What streams is not stored, so only this order is the same for
// those who watched and those who came later.

import type {
  AgentFailure,
  Ask,
  DiffChange,
  InputStage,
  PlanEntry,
  SessionOpened,
  Task,
  Tool,
  TranscriptEntry,
  TranscriptItem,
  TurnEnd,
  Usage,
} from '../proto';

type Base = { id: string; at: string };

export type Diff = { path: string; change: DiffChange };

export type ToolStatus = 'running' | 'done' | 'failed' | 'cancelled';

export type UserNode = Base & { kind: 'user'; input: string; text: string; stage?: InputStage; evidence?: string };
export type TextNode = Base & { kind: 'text' | 'thinking'; text: string; open: boolean };
export type ToolNode = Base & {
  kind: 'tool';
  tool: Tool;
  status: ToolStatus;
  output: string;
  exit?: number;
  ended?: string;
  diffs: Diff[];
  children: Node[];
};
export type PlanNode = Base & { kind: 'plan'; entries: PlanEntry[] };
export type AskNode = Base & { kind: 'ask'; ask: Ask; closed?: string };
export type TaskNode = Base & { kind: 'task'; task: Task };
export type DiffNode = Base & { kind: 'diff'; diff: Diff };
export type RetryNode = Base & { kind: 'retry'; attempt: number; max?: number; until?: string; reason: string; over: boolean };
export type CompactionNode = Base & { kind: 'compaction'; done: boolean; trigger?: string };
export type ErrorNode = Base & { kind: 'error'; error: AgentFailure };
export type NoticeNode = Base & { kind: 'notice'; text: string };
export type SessionNode = Base & { kind: 'session'; session: SessionOpened };
export type TurnNode = Base & {
  kind: 'turn';
  turn: number;
  end: TurnEnd;
  started?: string;
  tools: number;
  usage?: Usage;
};
export type ModeNode = Base & { kind: 'mode'; model?: string; mode?: string };
/** What follows is of another day than what is above. */
export type DayNode = Base & { kind: 'day' };
export type UnknownNode = Base & { kind: 'unknown'; what: string; count: number };

export type Node =
  | UserNode
  | TextNode
  | ToolNode
  | PlanNode
  | AskNode
  | TaskNode
  | DiffNode
  | RetryNode
  | CompactionNode
  | ErrorNode
  | NoticeNode
  | SessionNode
  | TurnNode
  | ModeNode
  | DayNode
  | UnknownNode;

/** Of one tool; what is beyond it is on the tape. The end is kept: that is where errors are. */
export const OUTPUT_CHARS_MAX = 64 * 1024;

type Turn = { no: number; started?: string; tools: number; usage?: Usage };

/** A list of nodes with a way to find what a later item speaks of. */
class Level {
  nodes: Node[] = [];
  private readonly at = new Map<string, number>();

  find<N extends Node>(key: string): N | undefined {
    const index = this.at.get(key);
    return index === undefined ? undefined : (this.nodes[index] as N);
  }

  put(key: string, node: Node): void {
    const index = this.at.get(key);
    if (index !== undefined) {
      this.nodes[index] = node;
      return;
    }
    let place = this.nodes.length;
    if (!isOpen(node)) while (place > 0 && isOpen(this.nodes[place - 1]!)) place -= 1;
    if (place < this.nodes.length) {
      for (const [other, index] of this.at) if (index >= place) this.at.set(other, index + 1);
    }
    this.nodes.splice(place, 0, node);
    this.at.set(key, place);
  }

  /** A closed node takes its place before those that still stream. */
  close(key: string, node: Node): void {
    this.remove(key);
    this.put(key, node);
  }

  rename(key: string, to: string): void {
    const place = this.at.get(key);
    if (place === undefined) return;
    this.at.delete(key);
    this.at.set(to, place);
  }

  /** What streams and will never come whole. */
  dropOpen(): void {
    for (const key of [...this.at.keys()]) if (isOpen(this.find<Node>(key)!)) this.remove(key);
  }

  private remove(key: string): void {
    const place = this.at.get(key);
    if (place === undefined) return;
    this.nodes.splice(place, 1);
    this.at.delete(key);
    for (const [other, index] of this.at) if (index > place) this.at.set(other, index - 1);
  }
}

const isOpen = (node: Node): boolean => (node.kind === 'text' || node.kind === 'thinking') && node.open;

export class Doc {
  private readonly top = new Level();
  private readonly inside = new Map<string, Level>();
  private readonly running = new Map<string, string | undefined>();
  private turn: Turn = { no: 0, tools: 0 };
  private last = '';
  private day = '';
  usage: Usage | undefined;
  model: string | undefined;
  mode: string | undefined;

  static of(entries: readonly TranscriptEntry[]): Doc {
    const doc = new Doc();
    for (const entry of entries) doc.push(entry);
    return doc;
  }

  /** A list of its own, to be compared and kept; a part of it. */
  nodes(from = 0, to = this.size): Node[] {
    return this.top.nodes.slice(from, to);
  }

  get size(): number {
    return this.top.nodes.length;
  }

  push(entry: TranscriptEntry): void {
    const key = `${entry.n}.${entry.i}`;
    // What streams has no place of its own yet: the place of a whole item is never given twice.
    if (!isPassing(entry.item)) {
      if (key === this.last) return;
      this.last = key;
      if (isSeen(entry.item)) this.dayOf(key, entry.at);
    }
    this.item(key, entry.at, entry.item);
  }

  private dayOf(key: string, at: string): void {
    const day = new Date(at).toDateString();
    if (this.day !== '' && day !== this.day) this.top.put(`day ${key}`, { kind: 'day', id: `day ${key}`, at });
    this.day = day;
  }

  private item(id: string, at: string, item: TranscriptItem): void {
    const top = this.top;
    if (item.type !== 'retry' && item.type !== 'usage' && item.type !== 'unknown') this.retryIsOver(isPassing(item));
    switch (item.type) {
      case 'session':
        this.model = item.session.model ?? this.model;
        this.mode = item.session.mode ?? this.mode;
        top.put(id, { kind: 'session', id, at, session: item.session });
        return;
      case 'turn_started':
        this.turn = { no: item.turn, started: at, tools: 0 };
        return;
      case 'pass_started':
        return;
      case 'turn_ended': {
        this.orphans(at);
        if (item.end.type === 'exited') this.exited();
        const { started, tools, usage } = this.turn.no === item.turn ? this.turn : { started: undefined, tools: 0, usage: undefined };
        top.put(id, { kind: 'turn', id, at, turn: item.turn, end: item.end, tools, ...opt({ started, usage }) });
        this.turn = { no: item.turn, tools: 0 };
        return;
      }
      case 'input':
        top.put(`input ${item.input}`, { kind: 'user', id, at, input: item.input, text: item.text });
        return;
      case 'input_stage': {
        const key = `input ${item.input}`;
        const node = top.find<UserNode>(key);
        if (node) top.put(key, { ...node, stage: item.stage, evidence: item.evidence });
        return;
      }
      case 'message_delta':
      case 'thinking_delta':
      case 'message':
      case 'thinking':
        this.text(id, at, item);
        return;
      case 'tool_started':
        this.toolStarted(id, at, item.tool);
        return;
      case 'tool_output':
        this.change(item.id, (node) => ({ ...node, output: tail(node.output + item.text) }));
        return;
      case 'tool_done': {
        const status: ToolStatus = item.is_error ? 'failed' : 'done';
        this.change(item.id, (node) => ({
          ...node,
          status,
          ended: at,
          output: tail(item.output === '' ? node.output : item.output),
          ...opt({ exit: item.exit_code }),
        }));
        this.running.delete(item.id);
        return;
      }
      case 'diff': {
        const diff = { path: item.path, change: item.change };
        const changed = item.tool !== undefined && this.change(item.tool, (node) => ({ ...node, diffs: [...node.diffs, diff] }));
        if (!changed) top.put(id, { kind: 'diff', id, at, diff });
        return;
      }
      case 'plan': {
        // One plan a turn: it changes where it stands.
        const key = `plan ${this.turn.no}`;
        const old = top.find<PlanNode>(key);
        top.put(key, { kind: 'plan', id: old?.id ?? id, at: old?.at ?? at, entries: item.entries });
        return;
      }
      case 'asked':
        top.put(`ask ${item.ask.id}`, { kind: 'ask', id, at, ask: item.ask });
        return;
      case 'ask_closed': {
        const node = top.find<AskNode>(`ask ${item.ask}`);
        if (node) top.put(`ask ${item.ask}`, { ...node, closed: closedAs(node.ask, item.how) });
        return;
      }
      case 'usage':
        this.usage = merged(this.usage, item.usage);
        this.turn.usage = merged(this.turn.usage, item.usage);
        return;
      case 'task': {
        const key = `task ${item.task.id}`;
        const old = top.find<TaskNode>(key);
        top.put(key, { kind: 'task', id: old?.id ?? id, at: old?.at ?? at, task: item.task });
        return;
      }
      case 'retry': {
        const old = top.find<RetryNode>('retry');
        // What had begun to stream is thrown away, and said anew.
        top.dropOpen();
        const { attempt, reason } = item;
        const node = { kind: 'retry' as const, attempt, reason, over: false, ...opt({ max: item.max, until: item.until }) };
        top.put('retry', { ...node, id: old?.id ?? id, at: old?.at ?? at });
        return;
      }
      case 'compaction': {
        const old = top.find<CompactionNode>('compaction');
        const node = { kind: 'compaction' as const, done: item.done, ...opt({ trigger: item.trigger ?? old?.trigger }) };
        top.put('compaction', { ...node, id: old?.id ?? id, at: old?.at ?? at });
        if (item.done) this.rename('compaction', old?.id ?? id);
        return;
      }
      case 'error':
        top.put(id, { kind: 'error', id, at, error: item.error });
        return;
      case 'mode':
        this.model = item.model ?? this.model;
        this.mode = item.mode ?? this.mode;
        top.put(id, { kind: 'mode', id, at, ...opt({ model: item.model, mode: item.mode }) });
        return;
      case 'notice':
        top.put(id, { kind: 'notice', id, at, text: item.text });
        return;
      case 'unknown': {
        const before = top.nodes.at(-1);
        if (before?.kind === 'unknown' && before.what === item.kind) {
          top.put(before.id, { ...before, count: before.count + 1 });
        } else {
          top.put(id, { kind: 'unknown', id, at, what: item.kind, count: 1 });
        }
        return;
      }
      default:
        // An item of a newer server.
        top.put(id, { kind: 'unknown', id, at, what: (item as { type: string }).type, count: 1 });
    }
  }

  private text(id: string, at: string, item: Extract<TranscriptItem, { id: string; text: string; parent?: string }>): void {
    const kind = item.type === 'thinking' || item.type === 'thinking_delta' ? 'thinking' : 'text';
    const isWhole = item.type === 'message' || item.type === 'thinking';
    this.within('parent' in item ? item.parent : undefined, (level) => {
      const key = `${kind} ${item.id}`;
      const streaming = level.find<TextNode>(key);
      if (!isWhole) {
        // Deltas that come after the whole add nothing.
        if (streaming && !streaming.open) return;
        level.put(key, { kind, id: streaming?.id ?? `~${id}`, at: streaming?.at ?? at, text: (streaming?.text ?? '') + item.text, open: true });
        return;
      }
      // A CLI may tell one message in several parts under one id.
      if (streaming && !streaming.open) level.put(`${key} ${id}`, { kind, id, at, text: item.text, open: false });
      else level.close(key, { kind, id, at, text: item.text, open: false });
    });
  }

  private toolStarted(id: string, at: string, tool: Tool): void {
    this.turn.tools += 1;
    this.within(tool.parent, (level) => {
      const old = level.find<ToolNode>(`tool ${tool.id}`);
      // Told again with more of its input.
      const node: ToolNode = old ? { ...old, tool } : { kind: 'tool', id, at, tool, status: 'running', output: '', diffs: [], children: [] };
      level.put(`tool ${tool.id}`, node);
    });
    this.running.set(tool.id, tool.parent);
    this.homes.set(tool.id, tool.parent);
  }

  private readonly homes = new Map<string, string | undefined>();

  private change(tool: string, change: (node: ToolNode) => ToolNode): boolean {
    if (!this.homes.has(tool)) return false;
    this.within(this.homes.get(tool), (level) => {
      const node = level.find<ToolNode>(`tool ${tool}`);
      if (node) level.put(`tool ${tool}`, change(node));
    });
    return true;
  }

  /** Works on the level of a sub-agent's tool, and hands the new children up to the top. */
  private within(parent: string | undefined | null, work: (level: Level) => void): void {
    if (parent === undefined || parent === null || !this.homes.has(parent)) {
      work(this.top);
      return;
    }
    let level = this.inside.get(parent);
    if (!level) this.inside.set(parent, (level = new Level()));
    work(level);
    const children = level.nodes.slice();
    this.change(parent, (node) => ({ ...node, children }));
  }

  /** What a turn leaves running does not spin for ever. */
  private orphans(at: string): void {
    for (const tool of [...this.running.keys()].reverse()) {
      this.change(tool, (node) => ({ ...node, status: 'cancelled', ended: at }));
    }
    this.running.clear();
    // The server says whole what was cut off, so what is open here is said by nobody.
    this.top.dropOpen();
  }

  /** Nobody is left to be answered, and nothing goes on beside. */
  private exited(): void {
    for (const node of this.top.nodes.slice()) {
      if (node.kind === 'ask' && !node.closed) this.top.put(`ask ${node.ask.id}`, { ...node, closed: 'ended with its process' });
      else if (node.kind === 'task' && node.task.status === 'running') this.top.put(`task ${node.task.id}`, { ...node, task: { ...node.task, status: 'stopped' } });
    }
  }

  /** What streams shows that it goes on; only what is stored makes the next retry another node. */
  private retryIsOver(forNow: boolean): void {
    const node = this.top.find<RetryNode>('retry');
    if (!node) return;
    if (!node.over) this.top.put('retry', { ...node, over: true });
    if (!forNow) this.rename('retry', node.id);
  }

  /** The next of its kind is another node. */
  private rename(key: string, to: string): void {
    this.top.rename(key, to);
  }
}

/** Of a turn; more of what streamed is not kept for a document that is made anew. */
const PASSING_MAX = 4096;

/** What streamed in the turn that goes on. It is in no page, so a document that is made anew needs it from here. */
export class Passing {
  private entries: TranscriptEntry[] = [];

  take(entry: TranscriptEntry): void {
    if (entry.item.type === 'turn_ended') this.entries = [];
    if (!isPassing(entry.item)) return;
    this.entries.push(entry);
    if (this.entries.length > 2 * PASSING_MAX) this.entries = this.entries.slice(-PASSING_MAX);
  }

  get isEmpty(): boolean {
    return this.entries.length === 0;
  }

  /** In the order in which it was said. */
  among(stored: readonly TranscriptEntry[]): TranscriptEntry[] {
    if (this.entries.length === 0) return stored.slice();
    const all = [...stored, ...this.entries];
    return all.sort((a, b) => a.n - b.n || a.i - b.i);
  }
}

export function isPassing(item: TranscriptItem): boolean {
  return item.type === 'message_delta' || item.type === 'thinking_delta' || item.type === 'tool_output';
}

/** Whether it begins a node of its own on the top level. */
function isSeen(item: TranscriptItem): boolean {
  switch (item.type) {
    case 'turn_started':
    case 'pass_started':
    case 'input_stage':
    case 'tool_done':
    case 'ask_closed':
    case 'usage':
      return false;
    case 'tool_started':
      return !item.tool.parent;
    case 'message':
    case 'thinking':
      return !item.parent;
    case 'diff':
      return !item.tool;
    default:
      return true;
  }
}

function tail(text: string): string {
  return text.length <= OUTPUT_CHARS_MAX ? text : text.slice(text.length - OUTPUT_CHARS_MAX);
}

function merged(old: Usage | undefined, fresh: Usage): Usage {
  return { ...old, ...opt(fresh) };
}

/** Without the fields that were not told. */
function opt<T extends object>(fields: T): { [K in keyof T]?: NonNullable<T[K]> } {
  const told: Partial<T> = {};
  for (const key of Object.keys(fields) as (keyof T)[]) if (fields[key] !== undefined && fields[key] !== null) told[key] = fields[key];
  return told as { [K in keyof T]?: NonNullable<T[K]> };
}

/** An option by what it was called, as its id is a word between programs. */
function closedAs(ask: Ask, how: string): string {
  const said = /^answered: ([^]*)$/.exec(how)?.[1];
  const chosen = ask.options.find(({ id }) => said === id);
  return chosen ? `answered: ${chosen.label}` : how;
}
