// Browsers keep sixteen WebGL contexts and throw the oldest away; the terminals beyond are drawn as elements.

const CONTEXTS_MAX = 8;
let taken = 0;

export const renderers = {
  /** The renderer goes with its terminal; what is given back is the place. */
  take(make: () => void): () => void {
    if (taken >= CONTEXTS_MAX) return () => undefined;
    try {
      make();
      taken += 1;
      return () => {
        taken -= 1;
      };
    } catch {
      // No WebGL here.
      return () => undefined;
    }
  },
};
