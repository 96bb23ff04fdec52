import { describe, expect, it } from 'vitest';
import { placeOf, type Page } from '../src/doc/search';
import { entries } from './entries';

describe('the place of a time', () => {
  const all = entries(Array.from({ length: 500 }, (_, n) => ({ type: 'notice' as const, text: 'x'.repeat((n * 7919) % 997) })), 10);
  const places = [0];
  for (const entry of all) places.push(places.at(-1)! + JSON.stringify(entry).length + 1);
  const end = places.at(-1)!;
  let asked = 0;
  const before = (place: number): Promise<Page> => {
    asked += 1;
    // The last whole line at or before it, as the server reads.
    let at = places.findIndex((start) => start > place) - 1;
    if (at < 0) at = places.length - 1;
    return Promise.resolve(at === 0 ? { from: 0, next: 0, entries: [] } : { from: places[at - 1]!, next: places[at]!, entries: [all[at - 1]!] });
  };

  it('is where the first entry of that time begins, whatever the lengths of the entries', async () => {
    const begin = Date.parse(all[0]!.at);
    for (const n of [0, 1, 2, 77, 250, 498, 499]) {
      for (const off of [0, -5000]) expect(await placeOf(begin + n * 10_000 + off, end, before), `entry ${n}, ${off} ms`).toBe(places[n]);
    }
    expect(await placeOf(begin - 1e9, end, before)).toBe(0);
    expect(await placeOf(begin + 1e9, end, before)).toBe(end);
    expect(await placeOf(begin, 0, before)).toBe(0);
  });

  it('is found with few questions', async () => {
    asked = 0;
    await placeOf(Date.parse(all[333]!.at), end, before);
    expect(asked).toBeLessThan(40);
  });
});
