// Ways through a document that stands open: its view tells them here, keys and the palette ask for them.

export type Ways = { step(by: 1 | -1): void; first(): void; last(): void; ask(): void };

const open = new Map<string, Ways>();

/** The newest view of an agent is asked; another one of it may still be open when that goes. */
export function offer(agent: string, ways: Ways): () => void {
  open.set(agent, ways);
  return () => {
    if (open.get(agent) === ways) open.delete(agent);
  };
}

export const waysThrough = (agent: string | undefined): Ways | undefined => (agent === undefined ? undefined : open.get(agent));
