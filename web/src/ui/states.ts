// How a state looks, once: shape, colour and word. Nothing else colours a state.

import type { AgentState } from '../proto';

export type Tone = 'need' | 'work' | 'wait' | 'calm' | 'bad' | 'off';
export type Shape = 'triangle' | 'ring' | 'diamond' | 'circle' | 'cross' | 'dash' | 'dots';

export const STATES: Record<AgentState, { tone: Tone; shape: Shape; word: string; rank: number }> = {
  needs_permission: { tone: 'need', shape: 'triangle', word: 'needs permission', rank: 0 },
  needs_answer: { tone: 'need', shape: 'triangle', word: 'needs an answer', rank: 1 },
  needs_login: { tone: 'need', shape: 'triangle', word: 'needs a login', rank: 2 },
  failed: { tone: 'bad', shape: 'cross', word: 'failed', rank: 3 },
  rate_limited: { tone: 'wait', shape: 'diamond', word: 'rate limited', rank: 4 },
  working: { tone: 'work', shape: 'ring', word: 'working', rank: 5 },
  compacting: { tone: 'work', shape: 'ring', word: 'compacting', rank: 5 },
  starting: { tone: 'work', shape: 'ring', word: 'starting', rank: 6 },
  queued: { tone: 'wait', shape: 'diamond', word: 'queued', rank: 7 },
  background: { tone: 'wait', shape: 'dots', word: 'background', rank: 8 },
  idle: { tone: 'calm', shape: 'circle', word: 'idle', rank: 9 },
  unknown: { tone: 'off', shape: 'dots', word: 'running', rank: 10 },
  offline: { tone: 'off', shape: 'dash', word: 'offline', rank: 11 },
};

export const isNeed = (state: AgentState): boolean => STATES[state].tone === 'need';

/** The stages of the receipt ladder. */
export const STAGES: Record<string, { tone: Tone; step: number; word: string; says: string }> = {
  accepted: { tone: 'off', step: 1, word: 'accepted', says: 'on disk' },
  held: { tone: 'wait', step: 1, word: 'held', says: 'waits' },
  routed: { tone: 'off', step: 2, word: 'routed', says: 'this run will get it' },
  handed: { tone: 'off', step: 3, word: 'handed', says: 'every byte was taken' },
  shown: { tone: 'work', step: 4, word: 'shown', says: 'in the hands of the agent' },
  begun: { tone: 'work', step: 5, word: 'begun', says: 'a turn with it has started' },
  acked: { tone: 'calm', step: 6, word: 'done', says: 'acknowledged, or its turn ended' },
  answered: { tone: 'calm', step: 7, word: 'answered', says: 'there is an answer' },
  unproven: { tone: 'need', step: 3, word: 'unproven', says: 'it may have been read; nothing will tell' },
  expired: { tone: 'off', step: 0, word: 'expired', says: 'its time was over' },
  cancelled: { tone: 'off', step: 0, word: 'cancelled', says: 'taken back' },
  refused: { tone: 'bad', step: 0, word: 'refused', says: 'the agent said no' },
  failed: { tone: 'bad', step: 0, word: 'failed', says: 'not given, or its turn did not end well' },
};

export const stage = (name: string) => STAGES[name] ?? { tone: 'off' as Tone, step: 0, word: name, says: '' };

/** What is said of a copy that came to no good end: no more than is known of it. */
export function ending({ stage, history }: { stage: string; history: readonly { stage: string }[] }): { word: string; says: string } | null {
  switch (stage) {
    case 'unproven':
      return { word: 'unproven', says: 'may not have got' };
    case 'refused':
      return { word: 'refused', says: 'refused' };
    case 'failed':
      // Of the last time it was given.
      return history.slice(history.findLastIndex((one) => one.stage === 'accepted') + 1).some((one) => one.stage === 'begun') ? { word: 'not finished', says: 'did not finish' } : { word: 'not delivered', says: 'did not get' };
    default:
      return null;
  }
}

/** Not given to anybody yet: it can be changed, moved, taken back. */
export const isWaiting = (name: string): boolean => name === 'accepted' || name === 'held' || name === 'routed';
