// Words that one person writes on several devices and has not sent. The server keeps them; a device holds beside it only what
// the server does not have yet, and what it had when they were written.

export type Own = { text: string; told: string };

/** Words of this device come up where the server has what it had then, or nothing that could take their place. */
export function begin(own: Own | null, server: string): string {
  if (own && own.told === server) return own.text;
  return server || own?.text || '';
}

export class Drafts {
  /** A browser that keeps nothing holds them until the page closes. */
  private readonly held = new Map<string, Own>();

  constructor(private readonly keeper: () => Pick<Storage, 'getItem' | 'setItem' | 'removeItem'>) {}

  of(agent: string): Own | null {
    const held = this.held.get(agent);
    if (held) return held;
    try {
      const own = JSON.parse(this.keeper().getItem(`agentmux.draft.${agent}`) ?? 'null') as Partial<Own> | null;
      return typeof own?.text === 'string' && typeof own.told === 'string' ? { text: own.text, told: own.told } : null;
    } catch {
      return null;
    }
  }

  hold(agent: string, own: Own): void {
    const isKnown = own.text === own.told;
    if (isKnown) this.held.delete(agent);
    else this.held.set(agent, own);
    try {
      if (isKnown) this.keeper().removeItem(`agentmux.draft.${agent}`);
      else this.keeper().setItem(`agentmux.draft.${agent}`, JSON.stringify(own));
    } catch {
      // Full or forbidden.
    }
  }

  /** The server has these words; what was written since is still only here. */
  told(agent: string, text: string): void {
    const own = this.of(agent);
    if (own) this.hold(agent, { text: own.text, told: text });
  }
}
