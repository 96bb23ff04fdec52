// What a tool's card shows, by what the tool does: a pure reading of its input and its output. What is not understood is
// shown as it is.

import type { PlanEntry, Tool, ToolKind } from '../proto';
import type { ToolNode } from './derive';

export type Match = { line?: number; text: string };
export type Group = { path: string; matches: Match[] };

export type Card = {
  shape: 'shell' | 'read' | 'edit' | 'search' | 'plan' | 'delegate' | 'web' | 'mcp' | 'json';
  verb: string;
  target: string;
  /** Small and after the target: a kind of sub-agent, a host. */
  badge?: string;
  /** What it is for, in the agent's words. */
  about?: string;
  command?: string;
  todos?: PlanEntry[];
  groups?: Group[];
  /** Of a sub-agent, as its CLI counted. */
  tokens?: number;
  model?: string;
  /** What to show as a tree. */
  input?: unknown;
  /** What it said, without what is shown elsewhere. */
  output: string;
  result?: unknown;
};

const VERBS: Record<ToolKind, string> = { execute: 'Run', read: 'Read', edit: 'Edit', search: 'Search', fetch: 'Fetch', think: 'Think', delegate: 'Delegate', mcp: '', other: '' };

type Fields = Record<string, unknown>;

export function card(node: Pick<ToolNode, 'tool' | 'output' | 'status'>): Card {
  const { tool, output } = node;
  const input: Fields = typeof tool.input === 'object' && tool.input !== null && !Array.isArray(tool.input) ? (tool.input as Fields) : {};
  const title = tool.title || tool.name;
  const plain = { verb: VERBS[tool.kind] || tool.name, target: title === tool.name && !VERBS[tool.kind] ? '' : title, output };
  const todos = todoList(tool, input);
  if (todos) return { ...plain, shape: 'plan', verb: 'Plan', target: `${todos.filter(({ status }) => status === 'completed').length} of ${todos.length} done`, todos };
  switch (tool.kind) {
    case 'execute': {
      const command = words(input, 'command', 'cmd') ?? (Array.isArray(input.command) ? input.command.join(' ') : undefined);
      // Without the shell around it where the CLI tells it so, and whole where the title was cut.
      const isInside = command !== undefined && SHELL.test(command) && !title.endsWith('…');
      return { ...plain, shape: 'shell', command: isInside ? title : (command ?? title), ...some({ about: words(input, 'description') }) };
    }
    case 'read': {
      const path = words(input, 'file_path', 'filePath', 'absolute_path', 'path') ?? title;
      return { ...plain, shape: 'read', target: path + range(input) };
    }
    case 'edit':
      return { ...plain, shape: 'edit' };
    case 'search': {
      const wanted = words(input, 'pattern', 'query', 'regex');
      const where = words(input, 'path', 'glob', 'include');
      return { ...plain, shape: 'search', target: wanted ?? title, ...some({ badge: where && wanted ? `in ${where}` : undefined, groups: node.status === 'done' ? grouped(output) : undefined }) };
    }
    case 'fetch': {
      const url = words(input, 'url', 'uri') ?? (/^https?:/.test(title) ? title : undefined);
      return { ...plain, shape: 'web', ...some({ badge: url ? host(url) : undefined, about: words(input, 'prompt') }) };
    }
    case 'delegate': {
      const { tokens, said } = ofHelper(output);
      const about = words(input, 'prompt', 'message');
      return { ...plain, shape: 'delegate', target: words(input, 'description') ?? title, output: said, ...some({ badge: words(input, 'subagent_type', 'agent_type', 'agent'), model: words(input, 'model'), tokens, about }) };
    }
    case 'mcp': {
      const [server, name] = ofMcp(tool.name);
      return { ...plain, shape: 'mcp', verb: server ? `${server} · ${name}` : name, target: title === tool.name ? brief(input) : title, input: tool.input, result: json(output) };
    }
    default:
      return { ...plain, shape: 'json', input: tool.input, result: json(output) };
  }
}

function todoList(tool: Tool, input: Fields): PlanEntry[] | undefined {
  const all = input.todos ?? input.plan;
  if (!/todo|plan/i.test(tool.name) || !Array.isArray(all)) return undefined;
  const entries = all.flatMap((one: unknown): PlanEntry[] => {
    if (typeof one !== 'object' || one === null) return [];
    const text = words(one as Fields, 'content', 'step', 'text', 'description');
    const status = (one as Fields).status;
    return text === undefined ? [] : [{ text, status: status === 'completed' || status === 'in_progress' ? status : 'pending' }];
  });
  return entries.length > 0 ? entries : undefined;
}

const SHELL = /^\S*sh -\w*c /;

/** `:12–40` of what a reader was asked for. */
function range(input: Fields): string {
  const from = figure(input, 'offset', 'line', 'start_line');
  const limit = figure(input, 'limit');
  const to = figure(input, 'end_line') ?? (limit === undefined ? undefined : (from ?? 1) + limit - 1);
  if (from === undefined && to === undefined) return '';
  return to === undefined ? `:${from}–` : `:${from ?? 1}–${to}`;
}

/** Lines as `path:12:text`, `path:12-text`, `path` alone; anything else is no list of matches. */
export function grouped(output: string): Group[] | undefined {
  const groups: Group[] = [];
  const under = (path: string): Group => {
    const known = groups.find((one) => one.path === path);
    if (known) return known;
    const fresh = { path, matches: [] };
    groups.push(fresh);
    return fresh;
  };
  let understood = 0;
  let others = 0;
  for (const line of output.split('\n')) {
    if (line.trim() === '' || line === '--' || /^(Found|No) \d* ?(files?|matches)/i.test(line)) continue;
    const match = /^([^\s:][^:]*?):(\d+)[:-](.*)$/.exec(line) ?? /^([^\s:]+?)-(\d+)-(.*)$/.exec(line);
    if (match) {
      under(match[1]!).matches.push({ line: Number(match[2]), text: match[3]! });
      understood += 1;
    } else if (/^[\w@~.+\-/]+$/.test(line) && /[/.]/.test(line)) {
      under(line);
      understood += 1;
    } else {
      others += 1;
    }
    if (groups.length > GROUPS_MAX) break;
  }
  return understood > 0 && others <= understood / 10 ? groups : undefined;
}

/** More files than anybody reads in a card; the output has them all. */
const GROUPS_MAX = 200;

/** The figures a CLI appends to what its helper said. */
function ofHelper(output: string): { tokens?: number; said: string } {
  const tail = /\n?(?:agentId: [^\n]*\n)?<usage>([^<]*)<\/usage>\s*$/.exec(output);
  if (!tail) return { said: output };
  const tokens = /tokens: (\d+)/.exec(tail[1]!);
  return { said: output.slice(0, tail.index), ...some({ tokens: tokens ? Number(tokens[1]) : undefined }) };
}

function ofMcp(name: string): [string, string] {
  const parts = /^mcp__(.+?)__(.+)$/.exec(name) ?? /^([^./]+)[./](.+)$/.exec(name);
  return parts ? [parts[1]!, parts[2]!] : ['', name];
}

/** Arguments on one line. */
function brief(input: Fields): string {
  return Object.entries(input).map(([key, value]) => `${key}: ${typeof value === 'string' ? value : JSON.stringify(value)}`).join(', ').slice(0, 300);
}

/** Only what is a tree; a number is read as it stands. */
function json(text: string): unknown {
  if (!/^\s*[[{]/.test(text)) return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function host(url: string): string | undefined {
  try {
    return new URL(url).host;
  } catch {
    return undefined;
  }
}

function words(input: Fields, ...names: string[]): string | undefined {
  for (const name of names) {
    const value = input[name];
    if (typeof value === 'string' && value !== '') return value;
  }
  return undefined;
}

function figure(input: Fields, ...names: string[]): number | undefined {
  for (const name of names) {
    const value = input[name];
    if (typeof value === 'number') return value;
  }
  return undefined;
}

function some<T extends object>(fields: T): { [K in keyof T]?: NonNullable<T[K]> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as { [K in keyof T]?: NonNullable<T[K]> };
}
