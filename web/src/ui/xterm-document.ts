// xterm.js writes `<style>` elements and `style` attributes, which the policy of our page forbids, rightly: both are doors for
// what an agent prints. It may be given the document it makes elements with; ours hands out a stand-in for `<style>` whose text
// goes into a constructed sheet. Its renderer of elements takes the window's document whatever it is given, and sets `style`
// attributes of spans; those go through CSSOM. Both are allowed without `unsafe-inline`, so the policy stays whole for every
// renderer.

const { setAttribute } = Element.prototype;
Object.defineProperty(HTMLSpanElement.prototype, 'setAttribute', {
  configurable: true,
  value(this: HTMLSpanElement, name: string, value: string) {
    if (name === 'style') this.style.cssText = value;
    else setAttribute.call(this, name, value);
  },
});

export function cspDocument(): { document: Document; during(work: () => void): void; dispose(): void } {
  const sheets = new Set<CSSStyleSheet>();
  const own = document;
  const plain = Document.prototype.createElement.bind(own);

  const adopt = (sheet: CSSStyleSheet) => {
    sheets.add(sheet);
    own.adoptedStyleSheets = [...own.adoptedStyleSheets, sheet];
  };
  const drop = (sheet: CSSStyleSheet) => {
    sheets.delete(sheet);
    own.adoptedStyleSheets = own.adoptedStyleSheets.filter((other) => other !== sheet);
  };

  function style(): HTMLElement {
    const element = plain('span') as HTMLElement;
    const sheet = new CSSStyleSheet();
    let text = '';
    element.hidden = true;
    Object.defineProperty(element, 'textContent', {
      get: () => text,
      set: (value: string) => {
        text = value;
        if (!sheets.has(sheet)) adopt(sheet);
        sheet.replaceSync(value);
      },
    });
    element.remove = () => {
      drop(sheet);
      HTMLElement.prototype.remove.call(element);
    };
    return element;
  }

  const create = (tag: string, options?: ElementCreationOptions) => (tag === 'style' ? style() : plain(tag, options));
  const made = new Proxy(own, {
    get(target, name) {
      if (name === 'createElement') {
        return create;
      }
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value;
    },
    set: (target, name, value) => Reflect.set(target, name, value, target),
  });
  return {
    document: made,
    /** The viewport asks the window for its document while it opens, whatever it was given. */
    during(work) {
      Object.defineProperty(own, 'createElement', { configurable: true, value: made.createElement });
      try {
        work();
      } finally {
        delete (own as Partial<Document>).createElement;
      }
    },
    dispose() {
      for (const sheet of [...sheets]) drop(sheet);
    },
  };
}
