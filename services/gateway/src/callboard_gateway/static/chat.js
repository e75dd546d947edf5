// The chat's reading side: follow what is written, tell a screen reader once, copy, the list of conversations.

const chat = document.getElementById("chat");
const messages = document.getElementById("messages");
const narrow = matchMedia("(max-width: 56rem)");

// --- the end of the page stays in sight for who is there ---

let following = true; // until the reader scrolls up, and again at the end
let lastY = 0;
history.scrollRestoration = "manual";

function goToTheEnd() {
  scrollTo({ top: document.documentElement.scrollHeight });
}
addEventListener("scroll", () => {
  const atTheEnd = innerHeight + scrollY >= document.documentElement.scrollHeight - 60;
  if (atTheEnd || scrollY < lastY) following = atTheEnd;
  lastY = scrollY;
}, { passive: true });
new ResizeObserver(() => { if (following) goToTheEnd(); }).observe(messages);
document.addEventListener("chat:sent", goToTheEnd);

// --- a reply, from its first word to its last ---

function runningReply() {
  return messages.querySelector("[data-running]");
}

// The words of a finished reply, without its buttons; a long one is left for reading.
function wordsOf(reply) {
  const body = reply.querySelector(".body, .problem").cloneNode(true);
  for (const element of body.querySelectorAll("button, form, details")) element.remove();
  const words = body.textContent.replace(/\s+/g, " ").trim();
  return words.length > 600 ? `${words.slice(0, 600)}…` : words;
}

let awaited = runningReply() && runningReply().id;

function noteReply() {
  const running = runningReply();
  if (running && running.id !== awaited) {
    say(chat.dataset.answering);
  } else if (!running && awaited) {
    const reply = document.getElementById(awaited);
    if (reply) say(`${chat.dataset.assistant}: ${wordsOf(reply)}`);
  }
  awaited = running && running.id;
  document.dispatchEvent(new CustomEvent("chat:state", { detail: { running: Boolean(running) } }));
}

new MutationObserver(() => {
  showLocalTimes(messages);
  noteReply();
}).observe(messages, { childList: true });

document.addEventListener("htmx:sseOpen", () => setLost(false));
document.addEventListener("htmx:sseError", () => setLost(true));

// Where older messages came in, reading goes on; the link that brought them is gone.
document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.target.id !== "earlier") return;
  const next = event.detail.target.nextElementSibling;
  next.tabIndex = -1;
  next.focus({ preventScroll: true });
});

// --- copying ---

async function copy(button, text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    return; // not allowed, or no clipboard on an insecure address: the text can still be selected
  }
  if (button.textContent === chat.dataset.copied) return; // pressed again, and said already
  say(chat.dataset.copied);
  const label = button.textContent;
  button.textContent = chat.dataset.copied;
  setTimeout(() => {
    button.textContent = label;
    document.getElementById("announcer").textContent = ""; // so that the next copy is said as well
  }, 1500);
}

messages.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.matches(".copy")) copy(button, button.closest(".code").querySelector("code").textContent);
  if (button.matches(".copy-reply")) copy(button, button.closest(".message").querySelector(".body").innerText);
});

// --- the list of conversations ---

const drawer = document.getElementById("drawer");
const talks = document.getElementById("talks");

function setDrawer(open) {
  drawer.setAttribute("aria-expanded", String(open));
  talks.classList.toggle("folded", !open);
}
setDrawer(false);
drawer.addEventListener("click", () => setDrawer(drawer.getAttribute("aria-expanded") !== "true"));

talks.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const menu = event.target.closest("details[open]");
  if (menu) {
    menu.open = false;
    menu.querySelector("summary").focus();
  } else if (narrow.matches) {
    setDrawer(false);
    drawer.focus();
  }
});
talks.addEventListener("toggle", (event) => {
  if (!event.target.open) return;
  for (const menu of talks.querySelectorAll("details[open]")) if (menu !== event.target) menu.open = false;
}, true);

document.addEventListener("talkDeleted", () => {
  document.getElementById("search").focus();
  say(chat.dataset.deleted);
});
document.addEventListener("talkRenamed", () => say(chat.dataset.renamed));
document.addEventListener("settingsSaved", () => say(chat.dataset.saved));
