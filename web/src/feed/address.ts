// Whom a message can be for, and which of them a few letters mean. Pure.

import type { BoardAgent, MessageView, Team } from '../proto';

export type Address = { to: string; about: string };

/** More than these are not chosen among. */
const OFFERED_MAX = 8;

export function addresses(agents: readonly BoardAgent[], teams: readonly Team[]): Address[] {
  const groups = new Map<string, BoardAgent[]>();
  for (const agent of agents) for (const group of agent.groups) groups.set(group, [...(groups.get(group) ?? []), agent]);
  const members = (team: Team) => agents.filter((agent) => agent.team_id === team.id);
  return [
    ...agents.map((agent) => ({ to: `${agent.name}@${agent.team}`, about: agent.role ?? agent.kind })),
    ...teams.filter((team) => members(team).length).map((team) => ({ to: `team:${team.name}`, about: meant(members(team)) })),
    ...[...groups].sort(([a], [b]) => (a < b ? -1 : 1)).map(([group, of]) => ({ to: `group:${group}`, about: meant(of) })),
    { to: 'all', about: `everybody: ${meant(agents)}` },
    { to: 'operator', about: 'you: a note to yourself' },
  ];
}

/** Shells are left out where there is anybody else: they would run what is said to agents. */
function meant(members: readonly BoardAgent[]): string {
  const agents = members.filter(({ kind }) => kind !== 'shell').length;
  const some = (n: number, one: string) => (n === 1 ? `1 ${one}` : `${n} ${one}s`);
  return agents || !members.length ? some(agents, 'agent') : some(members.length, 'shell');
}

export function offered(all: readonly Address[], word: string, taken: readonly string[]): Address[] {
  const needle = word.trim().toLowerCase();
  const rank = ({ to, about }: Address) => {
    const at = to.toLowerCase().indexOf(needle);
    if (at === 0) return 0;
    if (to.toLowerCase().includes(`:${needle}`)) return 1;
    return at > 0 ? 2 : about.toLowerCase().includes(needle) ? 3 : 9;
  };
  return all
    .filter((one) => !taken.includes(one.to) && rank(one) < 9)
    .sort((a, b) => rank(a) - rank(b))
    .slice(0, OFFERED_MAX);
}

/** Whom an answer to the last of a thread is for. */
export function answersTo(thread: readonly Pick<MessageView, 'from' | 'to'>[]): string[] {
  const last = thread.at(-1);
  if (!last) return [];
  const others = (names: readonly string[]) => [...new Set(names)].filter((name) => name !== 'operator');
  const near = others(last.from === 'operator' ? last.to : [last.from]);
  return near.length ? near : others(thread.flatMap(({ from, to }) => [from, ...to]));
}
