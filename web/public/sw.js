// Makes the page installable and shows notifications. It caches nothing: what an agent said stays on the server, and a page
// of yesterday would speak another protocol than the server of today.
self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));
self.addEventListener('fetch', () => undefined);
self.addEventListener('notificationclick', (event) => {
  event.notification.close();
  const hash = event.notification.data?.hash ?? '#/inbox';
  event.waitUntil(
    self.clients.matchAll({ type: 'window' }).then((all) => {
      const [client] = all;
      if (!client) return self.clients.openWindow(`/${hash}`);
      client.postMessage({ go: hash });
      return client.focus();
    }),
  );
});
