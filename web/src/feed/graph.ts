// Who talks to whom, from messages in a span of time. Pure.

import type { MessageView } from '../proto';
import { STAGES, type Tone } from '../ui/states';

export type Edge = { from: string; to: string; count: number; worst: Tone; last: MessageView; waiting: number; loop: boolean };
export type Graph = { nodes: { name: string; sent: number; got: number }[]; edges: Edge[] };

/** More turns than this between two, without a person, within five minutes: they may be polite to each other for ever. */
const ALTERNATIONS_MAX = 6;
const LOOP_MS = 5 * 60_000;

const SEVERITY: Record<Tone, number> = { bad: 5, need: 4, wait: 3, work: 2, off: 1, calm: 0 };

export function graph(messages: readonly MessageView[], since: number): Graph {
  const edges = new Map<string, Edge>();
  const nodes = new Map<string, { name: string; sent: number; got: number }>();
  const node = (name: string) => {
    let found = nodes.get(name);
    if (!found) nodes.set(name, (found = { name, sent: 0, got: 0 }));
    return found;
  };
  const talks = new Map<string, { at: number; from: string }[]>();
  for (const message of messages) {
    const at = Date.parse(message.created);
    if (at < since) continue;
    for (const copy of message.deliveries) {
      node(message.from).sent += 1;
      node(copy.to).got += 1;
      const stage = STAGES[copy.stage];
      const tone = stage?.tone ?? 'off';
      const key = `${message.from}\n${copy.to}`;
      const edge = edges.get(key);
      const waiting = copy.stage === 'held' || copy.stage === 'accepted' ? 1 : 0;
      if (!edge) edges.set(key, { from: message.from, to: copy.to, count: 1, worst: tone, last: message, waiting, loop: false });
      else {
        edge.count += 1;
        edge.waiting += waiting;
        if (SEVERITY[tone] > SEVERITY[edge.worst]) edge.worst = tone;
        if (message.created > edge.last.created) edge.last = message;
      }
      const pair = [message.from, copy.to].sort().join('\n');
      const talk = talks.get(pair);
      if (talk) talk.push({ at, from: message.from });
      else talks.set(pair, [{ at, from: message.from }]);
    }
  }
  const people = messages.filter((message) => message.from === 'operator').map((message) => Date.parse(message.created));
  for (const [pair, talk] of talks) {
    if (!isLoop(talk.sort((a, b) => a.at - b.at), people)) continue;
    const [a, b] = pair.split('\n') as [string, string];
    for (const key of [`${a}\n${b}`, `${b}\n${a}`]) {
      const edge = edges.get(key);
      if (edge) edge.loop = true;
    }
  }
  return { nodes: [...nodes.values()].sort((a, b) => (a.name < b.name ? -1 : 1)), edges: [...edges.values()].sort((a, b) => b.count - a.count) };
}

function isLoop(talk: readonly { at: number; from: string }[], people: readonly number[]): boolean {
  if (talk.some(({ from }) => from === 'operator')) return false;
  const turns = talk.filter((one, at) => at === 0 || talk[at - 1]!.from !== one.from);
  for (let at = ALTERNATIONS_MAX; at < turns.length; at += 1) {
    const from = turns[at - ALTERNATIONS_MAX]!.at;
    const to = turns[at]!.at;
    if (to - from <= LOOP_MS && !people.some((when) => when > from && when < to)) return true;
  }
  return false;
}

export type Placed = { name: string; x: number; y: number };

/** On a circle, the person on top; the same names are always in the same places. */
export function circle(names: readonly string[], radius: number): Placed[] {
  const order = names.slice().sort((a, b) => (a === 'operator' ? -1 : b === 'operator' ? 1 : a < b ? -1 : 1));
  return order.map((name, i) => {
    const angle = (2 * Math.PI * i) / order.length - Math.PI / 2;
    return { name, x: Math.cos(angle) * radius, y: Math.sin(angle) * radius };
  });
}
