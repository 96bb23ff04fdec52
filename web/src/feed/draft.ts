// Words that a person has begun and not sent. A device keeps them, so that they outlive a reload; of a draft to an agent the
// server keeps them, too, and a device holds only what the server does not have yet, and what it had when they were written. Pure.

export type Keeper = Pick<Storage, 'getItem' | 'setItem' | 'removeItem' | 'key' | 'length'>;

/** Of one kind: more than anybody has half-written at a time. What nobody came back to makes room, the oldest first. */
export const BEGUN_MAX = 50;

/** Things of one kind by their names, in the storage of a browser. */
export class Shelf<T extends object> {
  /** What the browser did not take: it is full, or keeps nothing. It holds until the page closes. */
  private readonly held = new Map<string, T>();
  private readonly prefix: string;

  constructor(
    kind: string,
    private readonly read: (found: Record<string, unknown>) => T | null,
    private readonly keeper: () => Keeper,
    private readonly now: () => number = Date.now,
  ) {
    this.prefix = `agentmux.${kind}.`;
  }

  /** Whether a key of the storage is of this kind; without one all of them may have changed. */
  has(key: string | null): boolean {
    return key === null || key.startsWith(this.prefix);
  }

  get(name: string): T | null {
    const held = this.held.get(name);
    if (held) return held;
    const found = this.found(name);
    return found && this.read(found);
  }

  put(name: string, value: T): void {
    try {
      if (this.found(name) === null) this.makeRoom();
      this.keeper().setItem(this.prefix + name, JSON.stringify({ ...value, at: this.now() }));
      this.held.delete(name);
    } catch {
      this.drop(name);
      this.held.set(name, value);
    }
  }

  drop(name: string): void {
    this.held.delete(name);
    try {
      this.keeper().removeItem(this.prefix + name);
    } catch {
      // Forbidden, so it is not there.
    }
  }

  names(): string[] {
    const all = new Set(this.held.keys());
    try {
      const keeper = this.keeper();
      for (let at = 0; at < keeper.length; at += 1) {
        const key = keeper.key(at);
        if (key?.startsWith(this.prefix)) all.add(key.slice(this.prefix.length));
      }
    } catch {
      // Forbidden: only what is held.
    }
    return [...all];
  }

  clear(): void {
    for (const name of this.names()) this.drop(name);
  }

  private found(name: string): Record<string, unknown> | null {
    try {
      const found: unknown = JSON.parse(this.keeper().getItem(this.prefix + name) ?? 'null');
      return found !== null && typeof found === 'object' ? (found as Record<string, unknown>) : null;
    } catch {
      return null;
    }
  }

  private makeRoom(): void {
    const at = (name: string) => Number(this.found(name)?.at) || 0;
    const there = this.names();
    if (there.length < BEGUN_MAX) return;
    for (const { name } of there.map((name) => ({ name, at: at(name) })).sort((a, b) => a.at - b.at).slice(0, there.length - BEGUN_MAX + 1)) this.drop(name);
  }
}

export type Own = { text: string; told: string };

/** Words of this device come up where the server has what it had then, or nothing that could take their place. */
export function begin(own: Own | null, server: string): string {
  if (own && own.told === server) return own.text;
  return server || own?.text || '';
}

export class Drafts {
  private readonly shelf: Shelf<Own>;

  constructor(keeper: () => Keeper) {
    this.shelf = new Shelf('draft', ({ text, told }) => (typeof text === 'string' && typeof told === 'string' ? { text, told } : null), keeper);
  }

  of(agent: string): Own | null {
    return this.shelf.get(agent);
  }

  hold(agent: string, own: Own): void {
    if (own.text === own.told) this.shelf.drop(agent);
    else this.shelf.put(agent, own);
  }

  /** The server has these words; what was written since is still only here. */
  told(agent: string, text: string): void {
    const own = this.of(agent);
    if (own) this.hold(agent, { text: own.text, told: text });
  }

  clear(): void {
    this.shelf.clear();
  }
}
