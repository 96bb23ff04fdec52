// What waits for the person, in order. Pure: the board, this device's notes and the time come in.

import type { BoardAgent, BoardRequest, DeliveryView, MessageView } from '../proto';

export type Item = { key: string; agent?: BoardAgent; at: string } & (
  | { is: 'ask'; ask: BoardRequest }
  | { is: 'login'; agent: BoardAgent }
  | { is: 'failed'; agent: BoardAgent }
  | { is: 'mail'; message: MessageView }
  | { is: 'stuck'; message: MessageView; copy: DeliveryView }
  | { is: 'finished'; agent: BoardAgent }
);

export type Notes = {
  muted: readonly string[];
  snoozed: Readonly<Record<string, number>>;
  seen: Readonly<Record<string, string>>;
};

const RANK: Record<Item['is'], number> = { ask: 0, login: 0, failed: 1, mail: 2, stuck: 3, finished: 4 };

/** They alone raise the count: an agent cannot go on without a person. */
export const isNeed = (item: Item): boolean => RANK[item.is] === 0;

export function inbox(
  board: { agents: readonly BoardAgent[]; asks: readonly BoardRequest[]; messages: readonly MessageView[] },
  notes: Notes,
  now: number,
): { items: Item[]; hidden: number } {
  const all: Item[] = [];
  const byUid = new Map(board.agents.map((agent) => [agent.uid, agent]));
  const asked = new Set<string>();
  for (const ask of board.asks) {
    asked.add(ask.agent_uid);
    const agent = byUid.get(ask.agent_uid);
    all.push({ is: 'ask', key: `ask ${ask.id}`, at: ask.created, ask, ...(agent ? { agent } : {}) });
  }
  for (const agent of board.agents) {
    const at = agent.since;
    if (agent.state === 'needs_login' && !asked.has(agent.uid)) all.push({ is: 'login', key: `login ${agent.uid} ${at}`, at, agent });
    else if (agent.state === 'failed' && notes.seen[agent.uid] !== at) all.push({ is: 'failed', key: `failed ${agent.uid} ${at}`, at, agent });
    else if (agent.state === 'idle' && agent.turn > 0 && notes.seen[agent.uid] !== at) all.push({ is: 'finished', key: `finished ${agent.uid} ${at}`, at, agent });
  }
  for (const message of board.messages) {
    for (const copy of message.deliveries) {
      const at = message.created;
      if (copy.to === 'operator' && !SETTLED.has(copy.stage)) all.push({ is: 'mail', key: `mail ${message.id}`, at, message });
      else if (message.from === 'operator' && (copy.stage === 'unproven' || copy.stage === 'failed' || copy.stage === 'refused')) {
        const key = `stuck ${message.id} ${copy.to} ${copy.stage}`;
        if (!notes.seen[key]) all.push({ is: 'stuck', key, at, message, copy });
      }
    }
  }
  const shown = all.filter((item) => {
    if ((notes.snoozed[item.key] ?? 0) > now) return false;
    // Muting an agent never hides that it cannot go on.
    return isNeed(item) || item.agent === undefined || !notes.muted.includes(item.agent.uid);
  });
  shown.sort((a, b) => RANK[a.is] - RANK[b.is] || (RANK[a.is] < 2 ? cmp(a.at, b.at) : cmp(b.at, a.at)) || cmp(a.key, b.key));
  return { items: shown, hidden: all.length - shown.length };
}

const SETTLED = new Set(['acked', 'answered', 'expired', 'cancelled', 'refused', 'failed']);

const cmp = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
