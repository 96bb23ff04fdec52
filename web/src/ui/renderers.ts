// Browsers keep sixteen WebGL contexts and throw the oldest away; the terminals beyond are drawn as elements.

const CONTEXTS_MAX = 8;
let taken = 0;

export const renderers = {
  take(make: () => () => void): () => void {
    if (taken >= CONTEXTS_MAX) return () => undefined;
    try {
      const dispose = make();
      taken += 1;
      return () => {
        taken -= 1;
        dispose();
      };
    } catch {
      // No WebGL here.
      return () => undefined;
    }
  },
};
