// Swagger UI over our own document; "Try it out" uses the console's session, or a key put in by "Authorize".
"use strict";

const dark = window.matchMedia("(prefers-color-scheme: dark)");
const followScheme = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", followScheme);
followScheme();

const api = document.getElementById("api");

window.SwaggerUIBundle({
  url: api.dataset.openapi,
  requestInterceptor(request) {
    if (api.dataset.csrf && !request.headers.Authorization) request.headers["X-CSRF-Token"] = api.dataset.csrf;
    return request;
  },
  dom_id: "#api",
  deepLinking: true,
  displayRequestDuration: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  persistAuthorization: false,
  validatorUrl: null,
  presets: [window.SwaggerUIBundle.presets.apis],
});
