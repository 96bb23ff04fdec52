// Who of a team is started when, seen from a page: nobody before those it waits for run, everybody else at once. One that
// does not come up holds back those that wait for it and nobody else. Pure.

import type { AgentState } from '../proto';

export type Seen = { state: AgentState; run: number | null; reason: string | null };
export type Stage = { is: 'waiting'; after: readonly string[] } | { is: 'begun'; run: number; until: number } | { is: 'up' } | { is: 'ended' } | { is: 'failed'; why: string };

/** From an order to an agent that can be spoken to: a CLI that is fetched first takes most of a minute. */
export const START_PATIENCE_MS = 60_000;

/** The stages as they are by what is seen, and whose turn it is. */
export function advance(stages: ReadonlyMap<string, Stage>, seen: (agent: string) => Seen | undefined, now: number): { stages: Map<string, Stage>; due: string[] } {
  const out = new Map(stages);
  for (const [agent, stage] of out) {
    if (stage.is !== 'begun') continue;
    const found = seen(agent);
    if (found && (found.run ?? 0) >= stage.run && found.state !== 'starting') {
      if (found.state === 'failed') out.set(agent, { is: 'failed', why: found.reason ?? 'it failed' });
      else out.set(agent, { is: found.state === 'offline' ? 'ended' : 'up' });
    } else if (now >= stage.until) out.set(agent, { is: 'failed', why: found ? `not up in ${START_PATIENCE_MS / 1000} s` : 'it was removed meanwhile' });
  }
  for (let changed = true; changed; ) {
    changed = false;
    for (const [agent, stage] of out) {
      const cause = stage.is === 'waiting' ? stage.after.find((one) => out.get(one)?.is === 'failed') : undefined;
      if (cause === undefined) continue;
      out.set(agent, { is: 'failed', why: `not started, it waits for ${cause}` });
      changed = true;
    }
  }
  // What is not started here runs already.
  const isUp = (agent: string) => ['up', 'ended', undefined].includes(out.get(agent)?.is);
  const due = [...out].filter(([, stage]) => stage.is === 'waiting' && stage.after.every(isUp)).map(([agent]) => agent);
  return { stages: out, due };
}

export const isDone = (stages: ReadonlyMap<string, Stage>): boolean => [...stages.values()].every((stage) => stage.is !== 'waiting' && stage.is !== 'begun');
