import './style/tokens.css';
import './style/base.css';
import { mount } from 'svelte';
import App from './App.svelte';
import { store } from './feed/store.svelte';

/** A one-time code comes in the fragment, which no server and no log sees; it is gone from the address at once. */
async function redeem(): Promise<void> {
  const code = /^#code=([\w-]+)/.exec(location.hash)?.[1];
  if (!code) return;
  history.replaceState(null, '', '/#/inbox');
  await fetch('/v1/login', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ code }) }).catch(() => undefined);
}

await redeem();
store.start();
mount(App, { target: document.querySelector('#app')! });

if ('serviceWorker' in navigator && import.meta.env.PROD) {
  void navigator.serviceWorker.register('/sw.js').catch(() => undefined);
  navigator.serviceWorker.addEventListener('message', ({ data }) => {
    if (typeof data?.go === 'string' && data.go.startsWith('#/')) location.hash = data.go;
  });
}
