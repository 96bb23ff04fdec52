import { expect, it } from 'vitest';
import { advance, isDone, START_PATIENCE_MS, type Seen, type Stage } from '../src/feed/starts';

const waiting = (...after: string[]): Stage => ({ is: 'waiting', after });
const sees = (all: Record<string, Seen>) => (agent: string) => all[agent];

it('starts each when those it waits for run', () => {
  let { stages, due } = advance(new Map([['a', waiting()], ['b', waiting('a')], ['c', waiting('kept')]]), sees({}), 0);
  expect(due).toEqual(['a', 'c']);
  for (const one of due) stages.set(one, { is: 'begun', run: 2, until: START_PATIENCE_MS });
  const old = { state: 'idle', run: 1, reason: null } as const;
  ({ stages, due } = advance(stages, sees({ a: old, c: { ...old, run: 2 } }), 1));
  expect(due).toEqual([]);
  ({ stages, due } = advance(stages, sees({ a: { ...old, run: 2, state: 'offline' } }), 2));
  expect([stages.get('a')!.is, due]).toEqual(['ended', ['b']]);
  expect(isDone(stages)).toBe(false);
});

it('holds back who waits for one that failed, and nobody else', () => {
  const begun: Stage = { is: 'begun', run: 1, until: START_PATIENCE_MS };
  const { stages, due } = advance(new Map<string, Stage>([['c', waiting('b')], ['b', waiting('a')], ['a', begun], ['d', waiting()], ['e', begun]]), sees({ a: { state: 'failed', run: 1, reason: 'exit 1' }, e: { state: 'starting', run: 1, reason: null } }), START_PATIENCE_MS);
  expect(due).toEqual(['d']);
  expect([stages.get('a'), stages.get('c'), stages.get('e')]).toEqual([
    { is: 'failed', why: 'exit 1' },
    { is: 'failed', why: 'not started, it waits for b' },
    { is: 'failed', why: 'not up in 60 s' },
  ]);
});
