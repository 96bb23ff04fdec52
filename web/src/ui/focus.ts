// The one place that moves the focus, and only as part of what the person does: a thing opened by a click or a key takes it,
// and gives it back when it closes.

export function focusOnOpen(node: HTMLElement): { destroy(): void } {
  const before = document.activeElement as HTMLElement | null;
  const first = node.querySelector<HTMLElement>('[data-first]') ?? node.querySelector<HTMLElement>('input, textarea, select, button');
  const target = node.matches('input, textarea, button') ? node : (first ?? node);
  target.focus({ preventScroll: true });
  return {
    destroy() {
      if (before?.isConnected && (document.activeElement === document.body || node.contains(document.activeElement))) before.focus({ preventScroll: true });
    },
  };
}

/** Tab goes round inside. */
export function trap(node: HTMLElement): { destroy(): void } {
  const onkeydown = (event: KeyboardEvent) => {
    if (event.key !== 'Tab') return;
    const all = [...node.querySelectorAll<HTMLElement>('a[href], button:not(:disabled), input:not(:disabled), textarea, select, [tabindex]:not([tabindex="-1"])')].filter(
      (one) => one.offsetParent !== null,
    );
    const first = all[0];
    const last = all.at(-1);
    if (!first || !last) return;
    if (event.shiftKey && document.activeElement === first) {
      event.preventDefault();
      last.focus();
    } else if (!event.shiftKey && document.activeElement === last) {
      event.preventDefault();
      first.focus();
    }
  };
  node.addEventListener('keydown', onkeydown);
  return { destroy: () => node.removeEventListener('keydown', onkeydown) };
}

export function isTextField(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  return target.isContentEditable || target.matches('textarea, select, input:not([type=checkbox], [type=radio], [type=button])') || target.closest('.xterm') !== null;
}
