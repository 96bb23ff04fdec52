// The tree of a tab as rectangles in percent, and who is next to whom. The server owns the tree; this only draws it.

import type { LayoutNode, PaneId } from '../proto';

export type Rect = { x: number; y: number; w: number; h: number };
export type Tile = Rect & { panes: PaneId[]; active: PaneId };
export type Handle = Rect & {
  split: string;
  direction: 'row' | 'column';
  /** Between the child of this index and the next. */
  index: number;
  sizes: number[];
  /** The extent of the whole split along its direction, in percent of the tab. */
  extent: number;
};

export const WHOLE: Rect = { x: 0, y: 0, w: 100, h: 100 };

export function place(root: LayoutNode | null, within: Rect = WHOLE): { tiles: Tile[]; handles: Handle[] } {
  const tiles: Tile[] = [];
  const handles: Handle[] = [];
  const walk = (node: LayoutNode, rect: Rect) => {
    if (node.type === 'leaf') {
      tiles.push({ ...rect, panes: node.panes, active: node.active });
      return;
    }
    const sizes = node.children.map((child) => child.size);
    const total = sizes.reduce((sum, size) => sum + size, 0);
    const isRow = node.direction === 'row';
    const extent = isRow ? rect.w : rect.h;
    let at = isRow ? rect.x : rect.y;
    node.children.forEach((child, index) => {
      const share = (extent * child.size) / total;
      walk(child.node, isRow ? { ...rect, x: at, w: share } : { ...rect, y: at, h: share });
      at += share;
      if (index < node.children.length - 1) {
        const bar = isRow ? { x: at, y: rect.y, w: 0, h: rect.h } : { x: rect.x, y: at, w: rect.w, h: 0 };
        handles.push({ ...bar, split: node.id, direction: node.direction, index, sizes, extent });
      }
    });
  };
  if (root) walk(root, within);
  return { tiles, handles };
}

/** A pane of this share is still of use. */
const SHARE_MIN = 0.08;

/** The sizes of a split when the border behind `index` moved by a share of the whole split. */
export function dragged(sizes: readonly number[], index: number, share: number): number[] {
  const total = sizes.reduce((sum, size) => sum + size, 0);
  const pair = sizes[index]! + sizes[index + 1]!;
  const min = Math.min(pair / 2, total * SHARE_MIN);
  const first = Math.min(pair - min, Math.max(min, sizes[index]! + share * total));
  const out = sizes.slice();
  // Whole numbers, never 0; thousandths of the split are finer than a pixel.
  const scale = 1000 / total;
  out[index] = first;
  out[index + 1] = pair - first;
  return out.map((size) => Math.max(1, Math.round(size * scale)));
}

export type Toward = 'left' | 'right' | 'up' | 'down';

/** The tile one gets to by going that way: the nearest on that side that shares most of the border. */
export function neighbour(tiles: readonly Tile[], from: PaneId, toward: Toward): PaneId | null {
  const here = tiles.find((tile) => tile.panes.includes(from));
  if (!here) return null;
  const isAcross = toward === 'left' || toward === 'right';
  let best: { tile: Tile; gap: number; shared: number } | null = null;
  for (const tile of tiles) {
    if (tile === here) continue;
    const gap = {
      left: here.x - (tile.x + tile.w),
      right: tile.x - (here.x + here.w),
      up: here.y - (tile.y + tile.h),
      down: tile.y - (here.y + here.h),
    }[toward];
    const shared = isAcross
      ? Math.min(here.y + here.h, tile.y + tile.h) - Math.max(here.y, tile.y)
      : Math.min(here.x + here.w, tile.x + tile.w) - Math.max(here.x, tile.x);
    if (gap < -0.01 || shared <= 0.01) continue;
    if (!best || gap < best.gap - 0.01 || (Math.abs(gap - best.gap) <= 0.01 && shared > best.shared)) best = { tile, gap, shared };
  }
  return best ? best.tile.active : null;
}

/** In reading order, round and round. */
export function cycled(tiles: readonly Tile[], from: PaneId | null, step: 1 | -1): PaneId | null {
  if (tiles.length === 0) return null;
  const order = tiles.slice().sort((a, b) => a.y - b.y || a.x - b.x);
  const at = order.findIndex((tile) => from !== null && tile.panes.includes(from));
  return order[(at + step + order.length) % order.length]!.active;
}

export type Zone = 'left' | 'right' | 'up' | 'down' | 'stack';

/** What part of a tile a pointer is over: near an edge it is that side, in the middle the stack. */
export function zone(x: number, y: number): Zone {
  const edges: [Zone, number][] = [
    ['left', x],
    ['right', 1 - x],
    ['up', y],
    ['down', 1 - y],
  ];
  const [side, distance] = edges.reduce((near, edge) => (edge[1] < near[1] ? edge : near));
  return distance < 0.25 ? side : 'stack';
}

/** A window is wider than high by about this. */
const WIDER = 1.6;

/** Where there is most room for another pane, and on which side. */
export function roomiest(tiles: readonly Tile[]): { pane: PaneId; side: 'right' | 'down' } | null {
  const best = tiles.reduce<Tile | null>((most, tile) => (!most || tile.w * tile.h > most.w * most.h + 0.01 ? tile : most), null);
  return best && { pane: best.active, side: best.w * WIDER >= best.h ? 'right' : 'down' };
}
