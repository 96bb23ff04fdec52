import { describe, expect, it } from 'vitest';
import { CROWD, gathered, kindOf, looked, note, Told } from '../src/feed/attend';
import { fits } from '../src/feed/filter';
import { comesBack, inbox, isNeed, needs } from '../src/feed/inbox';
import { CODED, pruned } from '../src/feed/notes';
import { ending } from '../src/ui/states';
import type { BoardAgent, BoardRequest, MessageView } from '../src/proto';

const agent = (uid: string, state: string, turn = 1, since = '2026-01-01T00:00:00Z') => ({ uid, name: uid, team: 't', state, turn, since }) as unknown as BoardAgent;
const ask = (id: string, agent_uid: string, created: string) => ({ id, agent_uid, created, kind: 'permission' }) as unknown as BoardRequest;
const mail = (id: string, stage: string, to = 'operator', from = 'a@t') => ({ id, from, created: id, deliveries: [{ to, stage, history: [] }] }) as unknown as MessageView;
const none = { muted: [], snoozed: {}, seen: {} };

describe('the inbox', () => {
  it('says no more of a message than is known of it', () => {
    const says = (stage: string, ...before: string[]) => ending({ stage, history: before.map((one) => ({ stage: one })) })?.says;
    expect(says('failed', 'accepted', 'handed')).toBe('did not get');
    expect(says('failed', 'accepted', 'handed', 'begun')).toBe('did not finish');
    expect(says('unproven', 'accepted', 'handed')).toBe('may not have got');
    expect(['begun', 'acked', 'cancelled', 'expired', 'held'].map((stage) => says(stage))).toEqual(Array(5).fill(undefined));
  });
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
    expect(inbox(board, notes, 99)).toMatchObject({ items: [], putOff: ['ask 1'] });
    expect(inbox(board, notes, 100)).toMatchObject({ items: [{ key: 'ask 1' }], putOff: [] });
  });
  it('knows when the next of what was put off is there', () => {
    expect(comesBack({}, 5)).toBeNull();
    const snoozed = { 'ask 1': 25_000, 'ask 2': 21_000, 'ask 3': 5000 };
    expect(comesBack(snoozed, 12_000)).toBe(30_000);
    // Not shown before the inbox is made anew, and so still to come.
    expect(comesBack(snoozed, 22_000)).toBe(30_000);
    expect(comesBack(snoozed, 30_000)).toBeNull();
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

describe('the inbox of things that belong together', () => {
  it('shows the questions of one moment as one, and counts each', () => {
    const question = (id: string, at: string) => ({ ...ask(id, 'a', at), kind: 'question' }) as BoardRequest;
    const { items } = inbox({ agents: [], asks: [question('1', 'x'), question('2', 'x'), question('3', 'y')], messages: [] }, none, 0);
    expect(items.map((item) => item.is === 'ask' && item.asks.map((one) => one.id))).toEqual([['1', '2'], ['3']]);
    expect(needs(items)).toBe(3);
  });
  it('shows mail that waits for an agent nobody runs, until it is left, and again when there is more', () => {
    const waits = (queued: number) => ({ ...agent('a', 'offline', 0), queued, mail: { paused: false } }) as unknown as BoardAgent;
    const board = (queued: number) => ({ agents: [waits(queued)], asks: [], messages: [] });
    const [item] = inbox(board(1), none, 0).items;
    expect(item).toMatchObject({ is: 'held', why: 'offline' });
    const left = { ...none, seen: { [item!.key]: 'x' } };
    expect(inbox(board(1), left, 0).items).toEqual([]);
    expect(inbox(board(2), left, 0).items).toHaveLength(1);
  });
});

describe('notes', () => {
  it('are words to the server and come back as they were', () => {
    const snoozed = { 'ask 1': 5, 'mail x y': 7 };
    expect(CODED.snoozed.read(CODED.snoozed.write(snoozed))).toEqual(snoozed);
    const seen = { uid: '2026-01-01T00:00:00Z', 'stuck m a@t failed': 'x' };
    expect(CODED.seen.read(CODED.seen.write(seen))).toEqual(seen);
    expect(CODED.seen.read(['nonsense', 3, null])).toEqual({});
    expect(CODED.snoozed.read(['soon ask 1'])).toEqual({});
  });
  it('of agents that are gone and times that are over go', () => {
    const agents = new Set(['a']);
    expect(pruned('muted', ['a', 'b'], agents, 0)).toEqual(['a']);
    expect(pruned('snoozed', { x: 5, y: 9 }, agents, 5)).toEqual({ y: 9 });
    expect(pruned('seen', { a: '1', b: '1', 'stuck 1': 'x' }, agents, 0)).toEqual({ a: '1', 'stuck 1': 'x' });
  });
  it('never grow beyond what the server takes', () => {
    const many = Object.fromEntries(Array.from({ length: 600 }, (_, n) => [`k ${n}`, 'x']));
    const written = CODED.seen.write(many);
    expect([written.length, written.at(-1)]).toEqual([512, 'x k 599']);
  });
});

describe('the filter', () => {
  const fields = { name: 'api', team: 'shop', kind: 'claude', state: 'needs_answer needs an answer', words: ['backend'], model: 'opus', branch: 'fix', cwd: '/w/shop', unread: true, muted: false, live: true, needs: true };
  it('takes words anywhere and words with a place', () => {
    for (const fit of ['', 'api', 'BACK opus', 'state:answer', 'state:needs_answer', 'team:shop kind:cla', 'is:unread is:waiting', '-team:lab', 'in:/w']) expect(fits(fields, fit), fit).toBe(true);
    for (const not of ['web', 'state:idle', 'team:api', 'is:muted', '-api', 'is:nonsense']) expect(fits(fields, not), not).toBe(false);
  });
});

describe('what is told outside of the page', () => {
  const board = (asks: BoardRequest[], messages: MessageView[] = []) => inbox({ agents: [], asks, messages }, none, 0).items;
  it('is what is new and wanted, and not what was there when the page opened', () => {
    const told = new Told();
    const on = ['needs_permission'];
    expect(told.fresh(board([ask('1', 'a', 'x')]), on)).toEqual([]);
    expect(told.fresh(board([ask('1', 'a', 'x'), ask('2', 'a', 'y')]), on).map((item) => item.key)).toEqual(['ask 2']);
    expect(told.fresh(board([ask('3', 'a', 'z')], [mail('m', 'handed')]), ['message']).map(kindOf)).toEqual(['message']);
  });
  it('sounds once in five seconds, and a crowd is told as one', () => {
    const told = new Told();
    const one = board([ask('1', 'a', 'x')]);
    expect([told.sound(one, 0), told.sound(one, 4999), told.sound(one, 5000)]).toEqual([true, false, true]);
    const two = [...one, ...one];
    expect([told.split(one, 0, 5000), told.split(two, 1000, 5000), told.split(two, 9000, 5000)]).toEqual(['each', 'one', 'each']);
    // One after the other is a crowd as well.
    expect([told.split(one, 20_000, 5000), told.split(one, 20_016, 5000), told.split(one, 20_032, 5000)]).toEqual(['each', 'one', 'one']);
  });
  it('counts all of a crowd, and has the words of one that is alone in it', () => {
    const asks = [ask('1', 'a', 'x'), ask('2', 'a', 'y')].map((one) => ({ ...one, agent: 'a@t', title: 'touch 1' }));
    expect(gathered(board(asks), () => true)).toMatchObject({ key: CROWD, body: '2 things wait for you' });
    expect(gathered(board(asks.slice(1)), () => true)).toMatchObject({ key: CROWD, title: 'a@t', body: 'touch 1' });
  });
  it('is not what stands in a pane before the eyes', () => {
    expect(looked([{ type: 'agent', agent: 'a' }, { type: 'empty' }, { type: 'view', view: 'inbox' }, { type: 'view', view: 'events' }])).toEqual(['a', 'inbox']);
  });
  it('has the words of a letter only when its sender is known here', () => {
    const [item] = board([], [{ ...mail('m', 'handed'), body: 'the secret' } as MessageView]);
    expect(note(item!, () => true).body).toBe('the secret');
    expect(note(item!, () => false).body).toBe('wrote to you');
  });
});
