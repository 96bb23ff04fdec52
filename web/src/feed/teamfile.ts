// A team file as a form sees it: the text is the truth, and a change of a field is a change of as few of its characters as
// possible, so that comments and order stay a person's. Pure. What a file means, and what is wrong with it, the server says.

export type Value = string | boolean | number | string[] | { [key: string]: string | number | boolean };
/** `value` is `undefined` where a form has no field for it. The value stands in [at, end) of the text, its line in [from, to). */
export type Entry = { key: string; value: Value | undefined; from: number; to: number; at: number; end: number };
export type Section = { from: number; to: number; entries: Entry[] };
export type AgentPart = Section & { under: Map<string, Section>; last: number };
export type TeamText = { team: Section | undefined; agents: AgentPart[] };

class Strange extends Error {}

/** `null`: it is written in a way that only its text can be edited. */
export function read(text: string): TeamText | null {
  try {
    return sections(text);
  } catch (error) {
    if (error instanceof Strange) return null;
    throw error;
  }
}

const HEADER = /[ \t]*(\[\[?)[ \t]*([\w.]+)[ \t]*\]\]?[ \t]*(?:#[^\n]*)?(?:\n|$)/y;
const IDLE = /[ \t]*(?:#[^\n]*)?(?:\n|$)/y;
const KEY = /[ \t]*([\w-]+|"[^"\\\n]*")[ \t]*=[ \t]*/y;

function sections(text: string): TeamText {
  const out: TeamText = { team: undefined, agents: [] };
  let here: Section | undefined;
  let pos = 0;
  const eat = (what: RegExp): RegExpExecArray | null => {
    what.lastIndex = pos;
    const found = what.exec(text);
    if (found) pos = what.lastIndex;
    return found;
  };
  while (pos < text.length) {
    const from = pos;
    if (eat(IDLE)) continue;
    const header = eat(HEADER);
    if (header) {
      here = { from, to: pos, entries: [] };
      const [, brackets, name] = header as unknown as [string, string, string];
      const agent = out.agents.at(-1);
      if (brackets === '[' && name === 'team' && !out.team) out.team = here;
      else if (brackets === '[[' && name === 'agent') {
        const part: AgentPart = Object.assign(here, { under: new Map<string, Section>(), last: pos });
        out.agents.push(part);
      } else if (brackets === '[' && agent && (name === 'agent.mail' || name === 'agent.env') && !agent.under.has(name.slice(6))) agent.under.set(name.slice(6), here);
      else throw new Strange();
      if (agent && brackets === '[' && name !== 'team') agent.last = pos;
      continue;
    }
    const key = eat(KEY);
    if (!key || !here) throw new Strange();
    const at = pos;
    const [value, end] = one(text, at);
    pos = end;
    if (!eat(IDLE)) throw new Strange();
    here.entries.push({ key: key[1]!.replaceAll('"', ''), value, from, to: pos, at, end });
    here.to = pos;
    const agent = out.agents.at(-1);
    if (agent && here !== out.team) agent.last = pos;
  }
  return out;
}

const BLANK = /(?:\s|#[^\n]*(?:\n|$))*/y;
const STRING = /"(?:[^"\\\n]|\\[^\n])*"/y;
const LITERAL = /'[^'\n]*'/y;
const WORD = /[^\s,#\]}]+/y;

function one(text: string, at: number): [Value | undefined, number] {
  const match = (what: RegExp, from: number): string | undefined => {
    what.lastIndex = from;
    return what.exec(text)?.[0];
  };
  const skip = (from: number) => from + (match(BLANK, from)?.length ?? 0);
  const first = text[at];
  if (text.startsWith('"""', at) || text.startsWith("'''", at)) {
    const close = text.indexOf(text.slice(at, at + 3), at + 3);
    if (close < 0) throw new Strange();
    return [undefined, close + 3];
  }
  if (first === '"') {
    const found = match(STRING, at);
    if (found === undefined) throw new Strange();
    try {
      return [JSON.parse(found) as string, at + found.length];
    } catch {
      return [undefined, at + found.length];
    }
  }
  if (first === "'") {
    const found = match(LITERAL, at);
    if (found === undefined) throw new Strange();
    return [found.slice(1, -1), at + found.length];
  }
  if (first === '[') {
    const items: string[] = [];
    let isPlain = true;
    let pos = skip(at + 1);
    while (text[pos] !== ']') {
      const [item, end] = one(text, pos);
      if (typeof item === 'string') items.push(item);
      else isPlain = false;
      pos = skip(end);
      if (text[pos] === ',') pos = skip(pos + 1);
      else if (text[pos] !== ']') throw new Strange();
    }
    return [isPlain ? items : undefined, pos + 1];
  }
  if (first === '{') {
    const table: { [key: string]: string | number | boolean } = {};
    let isPlain = true;
    let pos = skip(at + 1);
    while (text[pos] !== '}') {
      const key = match(KEY, pos);
      if (key === undefined) throw new Strange();
      const [item, end] = one(text, pos + key.length);
      if (typeof item === 'string' || typeof item === 'number' || typeof item === 'boolean') table[key.replace(/[\s="]/g, '')] = item;
      else isPlain = false;
      pos = skip(end);
      if (text[pos] === ',') pos = skip(pos + 1);
      else if (text[pos] !== '}') throw new Strange();
    }
    return [isPlain ? table : undefined, pos + 1];
  }
  const word = match(WORD, at);
  if (word === undefined) throw new Strange();
  const end = at + word.length;
  if (word === 'true' || word === 'false') return [word === 'true', end];
  return [/^[+-]?\d[\d_]*$/.test(word) ? Number(word.replaceAll('_', '')) : undefined, end];
}

const isBare = (key: string) => /^[\w-]+$/.test(key);
const named = (key: string) => (isBare(key) ? key : quoted(key));
// JSON and TOML differ in one character.
const quoted = (text: string) => JSON.stringify(text).replaceAll('\u007f', '\\u007f');

export function literal(value: Value): string {
  if (typeof value === 'string') return quoted(value);
  if (Array.isArray(value)) return `[${value.map(quoted).join(', ')}]`;
  if (typeof value === 'object') return `{ ${Object.entries(value).map(([key, one]) => `${named(key)} = ${literal(one)}`).join(', ')} }`;
  return String(value);
}

function put(text: string, section: Section, key: string, value: Value | undefined): string {
  const entry = section.entries.find((one) => one.key === key);
  if (entry) return value === undefined ? text.slice(0, entry.from) + text.slice(entry.to) : text.slice(0, entry.at) + literal(value) + text.slice(entry.end);
  if (value === undefined) return text;
  const before = text.slice(0, section.to);
  return `${before}${before === '' || before.endsWith('\n') ? '' : '\n'}${named(key)} = ${literal(value)}\n${text.slice(section.to)}`;
}

/** The team's name. */
export function putTeam(text: string, name: string): string {
  const found = read(text);
  if (!found) return text;
  return found.team ? put(text, found.team, 'name', name) : `[team]\nname = ${quoted(name)}\n\n${text}`;
}

/** A field of an agent; `undefined`: it says nothing of it. */
export function putAgent(text: string, agent: number, key: string, value: Value | undefined): string {
  const part = read(text)?.agents[agent];
  return part ? put(text, part, key, value) : text;
}

/** A field of a table of an agent, wherever that is written. */
export function putUnder(text: string, agent: number, table: 'mail' | 'env', key: string, value: string | number | boolean | undefined): string {
  const part = read(text)?.agents[agent];
  if (!part) return text;
  const section = part.under.get(table);
  if (section) return put(text, section, key, value);
  const all = { ...under(part, table) };
  if (value === undefined) delete all[key];
  else all[key] = value;
  return put(text, part, table, Object.keys(all).length ? all : undefined);
}

export function under(part: AgentPart, table: 'mail' | 'env'): { [key: string]: string | number | boolean } {
  const inline = valueOf(part, table);
  const section = part.under.get(table);
  const lines = (section?.entries ?? []).flatMap(({ key, value }) => (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? [[key, value] as const] : []));
  return { ...(typeof inline === 'object' && !Array.isArray(inline) ? inline : {}), ...Object.fromEntries(lines) };
}

export const valueOf = (section: Section | undefined, key: string): Value | undefined => section?.entries.find((entry) => entry.key === key)?.value;
export const textOf = (section: Section | undefined, key: string): string => {
  const value = valueOf(section, key);
  return typeof value === 'string' ? value : '';
};

export function addAgent(text: string, name: string, kind: string): string {
  const body = text.trimEnd();
  return `${body}${body ? '\n\n' : ''}[[agent]]\nname = ${quoted(name)}\nkind = ${quoted(kind)}\n`;
}

/** With everything that is written of it up to its last line; what stands between it and the next stays. */
export function dropAgent(text: string, agent: number): string {
  const part = read(text)?.agents[agent];
  return part ? text.slice(0, part.from) + text.slice(part.last).replace(/^\n+/, '') : text;
}

export function fresh(team: string, kind: string): string {
  return addAgent(`[team]\nname = ${quoted(team)}\n`, 'lead', kind);
}

/** Of whom and of what a line speaks: a problem is shown at its field. */
export function fieldAt(text: string, found: TeamText, line: number): { agent: number; key: string } | null {
  let from = 0;
  for (let n = 1; n < line; n += 1) from = text.indexOf('\n', from) + 1 || text.length;
  const holds = (entry: Entry) => entry.from <= from && from < entry.to;
  const team = found.team?.entries.find(holds);
  if (team) return { agent: -1, key: team.key };
  for (const [agent, part] of found.agents.entries()) {
    if (from < part.from || from >= part.last) continue;
    for (const [table, section] of part.under) if (from >= section.from && from < section.to) return { agent, key: `${table}.${section.entries.find(holds)?.key ?? ''}` };
    return { agent, key: part.entries.find(holds)?.key ?? '' };
  }
  return null;
}

/** As a shell would split it: blanks, with quotes. */
export function words(text: string): string[] {
  return [...text.matchAll(/"((?:[^"\\]|\\.)*)"|'([^']*)'|(\S+)/g)].map((match) => match[1]?.replace(/\\(.)/g, '$1') ?? match[2] ?? match[3]!);
}
export const shellWord = (text: string): string => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/** What the disk came to while somebody had the file before them. */
export type Meanwhile = 'same' | 'take' | 'ask';

/** `began` is what stood on the disk when these words began: what was written there since is only taken over by who was asked. */
export function meanwhile(disk: string | null, began: string | null, base: string, text: string): Meanwhile {
  if (disk === began) return 'same';
  // Untouched words are those of a file and follow it; the same words are no quarrel.
  return disk !== null && (disk === text || text === base) ? 'take' : 'ask';
}
