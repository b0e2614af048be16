// Starts Swagger UI. A file of its own, because the page allows no inline script.
"use strict";
window.addEventListener("DOMContentLoaded", () => {
  window.SwaggerUIBundle({
    url: document.body.dataset.spec,
    dom_id: "#ui",
    deepLinking: true,
    displayRequestDuration: true,
    tryItOutEnabled: false,
    validatorUrl: null, // the default sends the document to a public validator
  });
});
