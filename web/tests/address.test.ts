import { expect, it } from 'vitest';
import { addresses, answersTo, offered } from '../src/feed/address';
import type { BoardAgent, Team } from '../src/proto';

const agent = (name: string, team: string, groups: string[] = [], role: string | null = null, kind = 'claude') => ({ name, team, team_id: team, groups, role, kind }) as unknown as BoardAgent;
const teams = ['shop', 'empty'].map((name) => ({ id: name, name }) as unknown as Team);
const all = addresses([agent('lead', 'shop', ['core'], 'plans the shop'), agent('api', 'shop', ['core'])], teams);

it('has agents, teams with somebody in them, groups, everybody and the person', () => {
  expect(all.map(({ to }) => to)).toEqual(['lead@shop', 'api@shop', 'team:shop', 'group:core', 'all', 'operator']);
  expect(all.find(({ to }) => to === 'group:core')!.about).toBe('2 agents');
});

it('counts whom a group means: its shells only where it has nobody else', () => {
  const shell = (name: string, team: string) => agent(name, team, ['core'], null, 'shell');
  const about = (agents: BoardAgent[]) => Object.fromEntries(addresses(agents, teams).map(({ to, about }) => [to, about]));
  expect(about([agent('lead', 'shop', ['core']), shell('sh', 'shop')])).toMatchObject({ 'team:shop': '1 agent', 'group:core': '1 agent', all: 'everybody: 1 agent' });
  expect(about([shell('a', 'shop'), shell('b', 'empty')])).toMatchObject({ 'team:shop': '1 shell', 'group:core': '2 shells', all: 'everybody: 2 shells' });
});

it('offers what begins so first, then what holds it, then what is said about it, and nobody twice', () => {
  expect(offered(all, 'sh', []).map(({ to }) => to)).toEqual(['team:shop', 'lead@shop', 'api@shop']);
  expect(offered(all, 'plans', []).map(({ to }) => to)).toEqual(['lead@shop']);
  expect(offered(all, 'a', ['api@shop'])[0]!.to).toBe('all');
});

it('answers whom the last words are from, or for; and else everybody who spoke', () => {
  const said = (from: string, ...to: string[]) => ({ from, to });
  expect(answersTo([said('operator', 'api', 'web'), said('web', 'operator')])).toEqual(['web']);
  expect(answersTo([said('web', 'operator'), said('operator', 'web', 'api')])).toEqual(['web', 'api']);
  expect(answersTo([said('web', 'operator'), said('operator', 'operator')])).toEqual(['web']);
});
