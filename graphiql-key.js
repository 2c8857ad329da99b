// Runs in GraphiQL's page before GraphiQL: asks for the key once, for all tabs. A header that the
// header editor sets wins. `#key=tw_…` in the address is taken over and removed; a fragment is
// never sent to a server.
(() => {
  const NAME = 'tradewind.key';
  const fromAddress = /^#key=(tw_\w+_[\w-]+)$/.exec(location.hash);
  if (fromAddress) {
    localStorage.setItem(NAME, fromAddress[1]);
    history.replaceState(null, '', location.pathname + location.search);
  }
  const send = window.fetch.bind(window);
  window.fetch = (resource, options = {}) => {
    const key = localStorage.getItem(NAME);
    const headers = new Headers(options.headers);
    if (key && !headers.has('authorization')) headers.set('authorization', `Bearer ${key}`);
    return send(resource, { ...options, headers });
  };
  addEventListener('DOMContentLoaded', () => {
    const form = document.createElement('form');
    form.style.cssText =
      'position:fixed;right:32px;bottom:32px;z-index:20;display:flex;gap:6px;font:13px sans-serif';
    const field = document.createElement('input');
    field.type = 'password';
    field.name = 'key';
    field.autocomplete = 'off';
    field.placeholder = 'API key: tw_…';
    field.value = localStorage.getItem(NAME) ?? '';
    field.setAttribute('aria-label', 'API key');
    field.style.cssText = 'width:190px;padding:4px 8px;border:1px solid #8888;border-radius:4px';
    form.append(field);
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      localStorage.setItem(NAME, field.value.trim());
      location.reload();
    });
    document.body.append(form);
  });
})();
