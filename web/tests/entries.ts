import type { TranscriptEntry, TranscriptItem } from '../src/proto';

/** One item an input, a second apart unless said otherwise. */
export const entries = (items: TranscriptItem[], step_s = 1): TranscriptEntry[] =>
  items.map((item, n) => ({ n: n + 1, i: 0, offset: n * 100, at: new Date(Date.UTC(2026, 0, 1, 0, 0, n * step_s)).toISOString(), item }));
