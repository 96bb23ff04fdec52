import { afterEach, describe, expect, it, vi } from 'vitest';

const saves = async () => {
  vi.resetModules();
  return (await import('../src/feed/store.svelte')).prefs.dataSaver;
};

describe('the data saver', () => {
  afterEach(() => {
    Reflect.deleteProperty(navigator, 'connection');
    localStorage.clear();
  });

  it('begins as the browser has it, and is what the person said afterwards', async () => {
    expect((await saves()).value).toBe(false);
    Object.defineProperty(navigator, 'connection', { value: { saveData: true }, configurable: true });
    const pref = await saves();
    expect(pref.value).toBe(true);
    pref.value = false;
    expect((await saves()).value).toBe(false);
  });
});
