// Who talks to whom, from messages in a span of time. Pure.

import type { MessageView } from '../proto';
import { STAGES, type Tone } from '../ui/states';

export type Edge = { from: string; to: string; count: number; worst: Tone; last: MessageView; waiting: number; loop: boolean };
export type Graph = { nodes: { name: string; sent: number; got: number }[]; edges: Edge[] };

/** More turns than this between two, without a person, within five minutes: they may be polite to each other for ever. */
const ALTERNATIONS_MAX = 6;
const LOOP_MS = 5 * 60_000;

const SEVERITY: Record<Tone, number> = { bad: 5, need: 4, wait: 3, work: 2, off: 1, calm: 0 };

export function graph(messages: readonly MessageView[], since: number, until = Number.POSITIVE_INFINITY): Graph {
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
    if (at < since || at > until) continue;
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
export type Cluster = { team: string; from: number; to: number };

const teamOf = (name: string) => name.split('@')[1] ?? '';

/** On a circle, the person on top, teams side by side with a gap between them; the same names are always in the same places. */
export function circle(names: readonly string[], radius: number): { places: Placed[]; clusters: Cluster[] } {
  const order = names.slice().sort((a, b) => {
    if (a === 'operator' || b === 'operator') return a === 'operator' ? -1 : 1;
    const [of, and] = [teamOf(a), teamOf(b)];
    return of !== and ? (of < and ? -1 : 1) : a < b ? -1 : 1;
  });
  const teams = new Set(order.filter((name) => name !== 'operator').map(teamOf));
  const gap = teams.size > 1 ? 1 : 0;
  // A gap before every team, and one before the circle closes.
  const slots = order.length + (gap ? teams.size + (order[0] === 'operator' ? 1 : 0) : 0);
  const turn = (slot: number) => (2 * Math.PI * slot) / Math.max(1, slots) - Math.PI / 2;
  const places: Placed[] = [];
  const clusters: Cluster[] = [];
  let slot = 0;
  let last: string | undefined;
  for (const name of order) {
    const team = name === 'operator' ? undefined : teamOf(name);
    if (last !== undefined || places.length > 0) slot += team !== last ? gap : 0;
    const angle = turn(slot);
    places.push({ name, x: Math.cos(angle) * radius, y: Math.sin(angle) * radius });
    const cluster = clusters.at(-1);
    if (team !== undefined && cluster?.team === team) cluster.to = angle;
    else if (team !== undefined) clusters.push({ team, from: angle, to: angle });
    last = team;
    slot += 1;
  }
  return { places, clusters: gap ? clusters : [] };
}

/** Messages of a span in so many parts of it, oldest first: what a person chooses a span by. */
export function histogram(messages: readonly MessageView[], from: number, to: number, parts: number): number[] {
  const bins = Array.from({ length: parts }, () => 0);
  for (const { created } of messages) {
    const at = Math.floor(((Date.parse(created) - from) / Math.max(1, to - from)) * parts);
    if (at >= 0 && at < parts) bins[at]! += 1;
  }
  return bins;
}
