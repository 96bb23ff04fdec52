import { describe, expect, it } from 'vitest';
import { circle, graph, histogram } from '../src/feed/graph';
import type { MessageView } from '../src/proto';

const at = (s: number) => new Date(s * 1000).toISOString();
const message = (from: string, to: string, s: number, stage = 'acked') => ({ id: `${s}`, from, created: at(s), deliveries: [{ to, stage }] }) as unknown as MessageView;

describe('the graph', () => {
  it('counts each direction and shows the worst', () => {
    const { edges, nodes } = graph([message('a', 'b', 1), message('a', 'b', 2, 'held'), message('b', 'a', 3, 'failed')], 0);
    expect(edges.map(({ from, to, count, worst, waiting }) => [from, to, count, worst, waiting])).toEqual([['a', 'b', 2, 'wait', 1], ['b', 'a', 1, 'bad', 0]]);
    expect(nodes).toEqual([{ name: 'a', sent: 2, got: 1 }, { name: 'b', sent: 1, got: 2 }]);
  });
  it('leaves out what is older than asked for', () => {
    expect(graph([message('a', 'b', 1), message('a', 'b', 100)], 50_000).edges[0]!.count).toBe(1);
  });
  const polite = Array.from({ length: 8 }, (_, i) => message(i % 2 ? 'a' : 'b', i % 2 ? 'b' : 'a', i * 20));
  it('marks two that answer each other again and again', () => {
    expect(graph(polite, 0).edges.every((edge) => edge.loop)).toBe(true);
  });
  it('does not when a person spoke, or when it took long', () => {
    expect(graph([...polite, message('operator', 'a', 70)], 0).edges.some((edge) => edge.loop)).toBe(false);
    expect(graph(Array.from({ length: 8 }, (_, i) => message(i % 2 ? 'a' : 'b', i % 2 ? 'b' : 'a', i * 200)), 0).edges.some((edge) => edge.loop)).toBe(false);
  });
  it('leaves out what is newer than asked for', () => {
    expect(graph([message('a', 'b', 1), message('a', 'b', 100)], 0, 50_000).edges[0]!.count).toBe(1);
  });
  it('puts the person on top and everybody always in the same place', () => {
    expect(circle(['b', 'operator', 'a'], 1).places.map(({ name }) => name)).toEqual(['operator', 'a', 'b']);
    expect(circle(['operator'], 10).places[0]).toMatchObject({ y: -10 });
    expect(circle(['b@x', 'a@x'], 1).clusters).toEqual([]);
  });
  it('keeps teams together, apart from each other', () => {
    const { places, clusters } = circle(['a@y', 'operator', 'b@x', 'a@x'], 1);
    expect(places.map(({ name }) => name)).toEqual(['operator', 'a@x', 'b@x', 'a@y']);
    expect(clusters.map(({ team }) => team)).toEqual(['x', 'y']);
    const turns = places.map(({ x, y }) => Math.round((((Math.atan2(y, x) + Math.PI / 2) / (2 * Math.PI)) * 7 + 7) % 7));
    expect(turns).toEqual([0, 2, 3, 5]);
  });
  it('counts what was said in each part of a span', () => {
    expect(histogram([message('a', 'b', 0), message('a', 'b', 1), message('a', 'b', 9), message('a', 'b', 99)], 0, 10_000, 5)).toEqual([2, 0, 0, 0, 1]);
  });
});
