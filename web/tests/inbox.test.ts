import { describe, expect, it } from 'vitest';
import { inbox, isNeed } from '../src/feed/inbox';
import type { BoardAgent, BoardRequest, MessageView } from '../src/proto';

const agent = (uid: string, state: string, turn = 1, since = '2026-01-01T00:00:00Z') => ({ uid, name: uid, team: 't', state, turn, since }) as unknown as BoardAgent;
const ask = (id: string, agent_uid: string, created: string) => ({ id, agent_uid, created, kind: 'permission' }) as unknown as BoardRequest;
const mail = (id: string, stage: string, to = 'operator', from = 'a@t') => ({ id, from, created: id, deliveries: [{ to, stage }] }) as unknown as MessageView;
const none = { muted: [], snoozed: {}, seen: {} };

describe('the inbox', () => {
  it('puts what an agent cannot go on without first, the oldest on top', () => {
    const board = {
      agents: [agent('a', 'needs_permission'), agent('b', 'failed'), agent('c', 'idle'), agent('d', 'working')],
      asks: [ask('2', 'a', '2026-01-02'), ask('1', 'a', '2026-01-01')],
      messages: [mail('m', 'handed')],
    };
    expect(inbox(board, none, 0).items.map((item) => item.is)).toEqual(['ask', 'ask', 'failed', 'mail', 'finished']);
    expect(inbox(board, none, 0).items[0]!.key).toBe('ask 1');
    expect(inbox(board, none, 0).items.filter(isNeed)).toHaveLength(2);
  });
  it('forgets a finished turn that was seen, until the next', () => {
    const notes = { ...none, seen: { c: '2026-01-01T00:00:00Z' } };
    expect(inbox({ agents: [agent('c', 'idle')], asks: [], messages: [] }, notes, 0).items).toEqual([]);
    expect(inbox({ agents: [agent('c', 'idle', 2, 'later')], asks: [], messages: [] }, notes, 0).items).toHaveLength(1);
  });
  it('brings back what was put off when its time has come', () => {
    const board = { agents: [], asks: [ask('1', 'a', 'x')], messages: [] };
    const notes = { ...none, snoozed: { 'ask 1': 100 } };
    expect(inbox(board, notes, 99)).toMatchObject({ items: [], hidden: 1 });
    expect(inbox(board, notes, 100).items).toHaveLength(1);
  });
  it('never mutes a need', () => {
    const board = { agents: [agent('a', 'needs_login'), agent('b', 'idle')], asks: [], messages: [] };
    expect(inbox(board, { ...none, muted: ['a', 'b'] }, 0).items.map((item) => item.is)).toEqual(['login']);
  });
  it('shows mail until it is taken, and a message of mine that did not arrive', () => {
    const messages = [mail('1', 'acked'), mail('2', 'handed'), mail('3', 'unproven', 'a@t', 'operator'), mail('4', 'held', 'a@t', 'operator')];
    expect(inbox({ agents: [], asks: [], messages }, none, 0).items.map((item) => item.is)).toEqual(['mail', 'stuck']);
  });
});
