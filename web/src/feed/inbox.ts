// What waits for the person, in order. Pure: the board, the person's notes and the time come in.

import type { BoardAgent, BoardRequest, DeliveryView, MessageView } from '../proto';
import { ending } from '../ui/states';
import type { Notes } from './notes';

export type Item = { key: string; agent?: BoardAgent; at: string } & (
  | { is: 'ask'; ask: BoardRequest; /** All that was asked in one go, `ask` among them. */ asks: BoardRequest[] }
  | { is: 'login'; agent: BoardAgent }
  | { is: 'failed'; agent: BoardAgent }
  | { is: 'mail'; message: MessageView }
  | { is: 'held'; agent: BoardAgent; why: 'paused' | 'offline' }
  | { is: 'stuck'; message: MessageView; copy: DeliveryView }
  | { is: 'finished'; agent: BoardAgent }
);

/** The words its recipient was given, or will be: an edit may have come too late for this one. */
export const words = (message: MessageView, copy: DeliveryView): string =>
  message.other?.find((one) => one.edition === copy.edition)?.body ?? message.body;

const RANK: Record<Item['is'], number> = { ask: 0, login: 0, failed: 1, mail: 2, held: 3, stuck: 3, finished: 4 };

/** They alone raise the count: an agent cannot go on without a person. */
export const isNeed = (item: Item): boolean => RANK[item.is] === 0;

export const needs = (items: readonly Item[]): number => items.reduce((sum, item) => sum + (item.is === 'ask' ? item.asks.length : isNeed(item) ? 1 : 0), 0);

export function inbox(
  board: { agents: readonly BoardAgent[]; asks: readonly BoardRequest[]; messages: readonly MessageView[] },
  notes: Pick<Notes, 'muted' | 'snoozed' | 'seen'>,
  now: number,
): { items: Item[]; putOff: string[] } {
  const all: Item[] = [];
  const byUid = new Map(board.agents.map((agent) => [agent.uid, agent]));
  const asked = new Set<string>();
  const together = new Map<string, Item & { is: 'ask' }>();
  for (const ask of board.asks) {
    asked.add(ask.agent_uid);
    const agent = byUid.get(ask.agent_uid);
    // Questions of one moment were asked in one go, and the agent waits for all of them.
    const group = ask.kind === 'question' ? `asks ${ask.agent_uid} ${ask.created}` : '';
    const before = together.get(group);
    if (before) {
      before.asks.push(ask);
      continue;
    }
    const item: Item & { is: 'ask' } = { is: 'ask', key: group || `ask ${ask.id}`, at: ask.created, ask, asks: [ask], ...(agent ? { agent } : {}) };
    if (group) together.set(group, item);
    all.push(item);
  }
  for (const agent of board.agents) {
    const at = agent.since;
    if (agent.state === 'needs_login' && !asked.has(agent.uid)) all.push({ is: 'login', key: `login ${agent.uid} ${at}`, at, agent });
    else if (agent.state === 'failed' && notes.seen[agent.uid] !== at) all.push({ is: 'failed', key: `failed ${agent.uid} ${at}`, at, agent });
    else if (agent.state === 'idle' && agent.turn > 0 && notes.seen[agent.uid] !== at) all.push({ is: 'finished', key: `finished ${agent.uid} ${at}`, at, agent });
    const why = agent.mail?.paused ? 'paused' : agent.state === 'offline' ? 'offline' : null;
    if (why && agent.queued > 0) {
      // More of them are news again.
      const key = `held ${agent.uid} ${why} ${agent.queued}`;
      if (!notes.seen[key]) all.push({ is: 'held', key, at, agent, why });
    }
  }
  for (const message of board.messages) {
    for (const copy of message.deliveries) {
      const at = message.created;
      if (copy.to === 'operator' && !SETTLED.has(copy.stage)) all.push({ is: 'mail', key: `mail ${message.id}`, at, message });
      else if (message.from === 'operator' && ending(copy)) {
        const key = `stuck ${message.id} ${copy.to} ${copy.stage}`;
        if (!notes.seen[key]) all.push({ is: 'stuck', key, at, message, copy });
      }
    }
  }
  const isPutOff = (item: Item): boolean => (notes.snoozed[item.key] ?? 0) > now;
  // Muting an agent never hides that it cannot go on.
  const isHeard = (item: Item): boolean => isNeed(item) || item.agent === undefined || !notes.muted.includes(item.agent.uid);
  const heard = all.filter(isHeard);
  const shown = heard.filter((item) => !isPutOff(item));
  shown.sort((a, b) => RANK[a.is] - RANK[b.is] || (RANK[a.is] < 2 ? cmp(a.at, b.at) : cmp(b.at, a.at)) || cmp(a.key, b.key));
  return { items: shown, putOff: heard.filter(isPutOff).map((item) => item.key) };
}

/** The time of the inbox goes on in such steps: it is made anew for each. */
export const STEP_MS = 10_000;

/** When the next of what was put off is there again. */
export function comesBack(snoozed: Readonly<Record<string, number>>, now: number): number | null {
  const step = Math.floor(now / STEP_MS) * STEP_MS;
  const next = Math.min(...Object.values(snoozed).filter((until) => until > step));
  return Number.isFinite(next) ? Math.ceil(next / STEP_MS) * STEP_MS : null;
}

/** Whether a message still waits for an answer of the person. */
export const isOpen = (message: MessageView): boolean => message.deliveries.some((copy) => copy.to === 'operator' && !SETTLED.has(copy.stage));

const SETTLED = new Set(['acked', 'answered', 'expired', 'cancelled', 'refused', 'failed']);

const cmp = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
