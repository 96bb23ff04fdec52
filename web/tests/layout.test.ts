import { describe, expect, it } from 'vitest';
import { cycled, dragged, neighbour, place, roomiest, zone } from '../src/layout/tree';
import type { LayoutNode } from '../src/proto';

const leaf = (...panes: string[]): LayoutNode => ({ type: 'leaf', panes, active: panes[0]! });
const split = (id: string, direction: 'row' | 'column', ...children: [number, LayoutNode][]): LayoutNode => ({
  type: 'split', id, direction, children: children.map(([size, node]) => ({ size, node })),
});
//  a | b
//    | c d
const tree = split('s', 'row', [1, leaf('a')], [3, split('t', 'column', [1, leaf('b')], [1, split('u', 'row', [1, leaf('c')], [1, leaf('d')])])]);
const { tiles, handles } = place(tree);
const tile = (pane: string) => tiles.find((one) => one.active === pane)!;

describe('the layout', () => {
  it('gives every pane its share', () => {
    expect(tile('a')).toMatchObject({ x: 0, y: 0, w: 25, h: 100 });
    expect(tile('b')).toMatchObject({ x: 25, y: 0, w: 75, h: 50 });
    expect(tile('d')).toMatchObject({ x: 62.5, y: 50, w: 37.5, h: 50 });
    expect(place(null).tiles).toEqual([]);
  });

  it('has a handle on every border, with what it moves', () => {
    expect(handles.map(({ split, index, direction }) => [split, index, direction])).toEqual([['s', 0, 'row'], ['t', 0, 'column'], ['u', 0, 'row']]);
  });

  it('goes to the neighbour that shares most of the border', () => {
    expect(neighbour(tiles, 'a', 'right')).toBe('b');
    expect(neighbour(tiles, 'd', 'left')).toBe('c');
    expect(neighbour(tiles, 'c', 'left')).toBe('a');
    expect(neighbour(tiles, 'd', 'up')).toBe('b');
    expect(neighbour(tiles, 'a', 'left')).toBeNull();
  });

  it('goes round in reading order', () => {
    expect(['a', 'b', 'c', 'd'].map((pane) => cycled(tiles, pane, 1))).toEqual(['b', 'c', 'd', 'a']);
    expect(cycled(tiles, 'a', -1)).toBe('d');
    expect(cycled([], null, 1)).toBeNull();
  });

  it('moves one border, never to nothing, and keeps the others', () => {
    expect(dragged([1, 1, 2], 0, 0.1)).toEqual([350, 150, 500]);
    const [first, second, third] = dragged([1, 1, 2], 0, 0.9) as [number, number, number];
    expect(second).toBeGreaterThan(0);
    expect(third).toBe(500);
    expect(first + second + third).toBe(1000);
  });

  it('puts another pane where there is most room', () => {
    expect(roomiest(tiles)).toEqual({ pane: 'b', side: 'right' });
    expect(roomiest(place(split('s', 'row', [1, leaf('a')], [1, leaf('b')], [1, leaf('c')])).tiles)).toEqual({ pane: 'a', side: 'down' });
    expect(roomiest([])).toBeNull();
  });

  it('tells the side from the middle', () => {
    expect([zone(0.1, 0.5), zone(0.9, 0.4), zone(0.5, 0.05), zone(0.5, 0.9), zone(0.5, 0.5)]).toEqual(['left', 'right', 'up', 'down', 'stack']);
  });
});
