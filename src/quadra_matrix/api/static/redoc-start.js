// Starts ReDoc. Loaded before it, because its styles take the nonce that stands in the window by then.
"use strict";
window.__webpack_nonce__ = document.currentScript.nonce;
window.addEventListener("DOMContentLoaded", () => {
  const options = { disableSearch: true, sanitize: true, hideDownloadButtons: false };
  window.Redoc.init(document.body.dataset.spec, options, document.getElementById("ui"));
});
