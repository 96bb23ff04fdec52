import { expect, it } from 'vitest';
import { addresses, answersTo, offered } from '../src/feed/address';
import type { BoardAgent, Team } from '../src/proto';

const agent = (name: string, team: string, groups: string[] = [], role: string | null = null) => ({ name, team, team_id: team, groups, role, kind: 'claude' }) as unknown as BoardAgent;
const teams = ['shop', 'empty'].map((name) => ({ id: name, name }) as unknown as Team);
const all = addresses([agent('lead', 'shop', ['core'], 'plans the shop'), agent('api', 'shop', ['core'])], teams);

it('has agents, teams with somebody in them, groups, everybody and the person', () => {
  expect(all.map(({ to }) => to)).toEqual(['lead@shop', 'api@shop', 'team:shop', 'group:core', 'all', 'operator']);
  expect(all.find(({ to }) => to === 'group:core')!.about).toBe('2 agents');
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
