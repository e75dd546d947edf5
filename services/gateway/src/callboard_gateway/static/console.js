// What the console does in the browser beyond htmx: announcements, quiet tabs, the form's examples.
"use strict";

function announce(element) {
  say(element.dataset && element.dataset.announce);
}

document.addEventListener("htmx:beforeRequest", (event) => {
  const polls = (event.target.getAttribute("hx-trigger") || "").startsWith("every");
  if (polls && document.hidden) event.preventDefault();
});

document.addEventListener("htmx:afterSwap", (event) => {
  const id = event.detail.target.id; // the target itself has been replaced
  const fresh = document.getElementById(id);
  if (!fresh) return;
  showLocalTimes(fresh);
  announce(fresh);
});

document.addEventListener("htmx:sendError", () => setLost(true));
document.addEventListener("htmx:timeout", () => setLost(true));
document.addEventListener("htmx:responseError", () => setLost(true));
document.addEventListener("htmx:afterOnLoad", () => setLost(false));
document.addEventListener("htmx:beforeOnLoad", (event) => {
  if (event.detail.xhr.status < 400) setLost(false);
});

function setUpPlayground() {
  const type = document.getElementById("type");
  const input = document.getElementById("input");
  if (!type || !input) return;
  let shown = type.selectedOptions[0].dataset.example;
  type.addEventListener("change", () => {
    const chosen = type.selectedOptions[0].dataset;
    document.getElementById("summary").textContent = chosen.summary;
    if (input.value === shown || input.value.trim() === "") input.value = chosen.example;
    shown = chosen.example;
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) input.form.requestSubmit();
  });
}

setUpPlayground();
