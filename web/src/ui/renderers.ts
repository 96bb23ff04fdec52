// Browsers keep sixteen WebGL contexts and throw the oldest away; the terminals beyond are drawn as elements.

const CONTEXTS_MAX = 8;

/** Drawn by the CPU it is slower than elements are. */
function isSoftware(): boolean {
  const gl = document.createElement('canvas').getContext('webgl2');
  if (!gl) return true;
  const info = gl.getExtension('WEBGL_debug_renderer_info');
  const name = info ? String(gl.getParameter(info.UNMASKED_RENDERER_WEBGL)) : '';
  gl.getExtension('WEBGL_lose_context')?.loseContext();
  return /swiftshader|llvmpipe|software|basic render/i.test(name);
}
let software: boolean | undefined;
let taken = 0;

export const renderers = {
  /** The renderer goes with its terminal; what is given back is the place. */
  take(make: () => void): () => void {
    software ??= isSoftware();
    if (software || taken >= CONTEXTS_MAX) return () => undefined;
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
