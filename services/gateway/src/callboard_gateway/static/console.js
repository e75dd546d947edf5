// What the console does in the browser beyond htmx: local times, announcements, quiet tabs, the form's examples.
"use strict";

const language = document.documentElement.lang;
const today = new Date().toDateString();
const clock = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const dateAndClock = new Intl.DateTimeFormat(language, {
  month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
});

function showLocalTimes(root) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    const time = new Date(element.dateTime);
    element.textContent = (time.toDateString() === today ? clock : dateAndClock).format(time);
    element.title = time.toLocaleString(language);
  }
}

// Said only when it changed, so that a screen reader is not interrupted every two seconds.
function announce(element) {
  const text = element.dataset && element.dataset.announce;
  const announcer = document.getElementById("announcer");
  if (text && announcer.textContent !== text) announcer.textContent = text;
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

function setLost(lost) {
  document.getElementById("lost").hidden = !lost;
}
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

showLocalTimes(document);
setUpPlayground();
