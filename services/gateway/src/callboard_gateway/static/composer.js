// Writing a message: Enter sends, never in the middle of composing a syllable; Stop; what went wrong; a draft is kept.

const composer = document.getElementById("composer");
const content = document.getElementById("content");
const send = document.getElementById("send");
const stop = document.getElementById("stop");
const problem = document.getElementById("composer-problem");
const texts = document.getElementById("chat").dataset;
const draftKey = `callboard draft ${location.pathname}`;

function tell(text) {
  const told = document.createElement("div");
  told.className = "problem";
  told.textContent = text;
  problem.replaceChildren(told);
}

// An answer that names its place is shown there, also when it says what went wrong.
document.addEventListener("htmx:beforeSwap", (event) => {
  const { xhr, target } = event.detail;
  if (xhr.getResponseHeader("HX-Retarget")) event.detail.shouldSwap = true;
  else if (target.matches("[data-fault]") && content) content.focus(); // the button that was pressed goes away
});
document.addEventListener("htmx:responseError", (event) => {
  if (!event.detail.xhr.getResponseHeader("HX-Retarget")) tell(texts.failed);
});
for (const lost of ["htmx:sendError", "htmx:timeout"]) document.addEventListener(lost, () => tell(texts.unreached));

// The session is over: what was written is there again after signing in, in this tab.
document.addEventListener("htmx:beforeOnLoad", (event) => {
  if (event.detail.xhr.status === 401 && content && content.value) sessionStorage.setItem(draftKey, content.value);
});

if (composer) {
  let sent = "";

  content.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.altKey) return;
    if (event.isComposing || event.keyCode === 229) return; // this Enter ends a syllable (Safari says only 229)
    event.preventDefault();
    if (!send.hidden) composer.requestSubmit(send);
    else say(texts.wait);
  });
  composer.addEventListener("htmx:beforeRequest", (event) => {
    sent = content.value;
    if (sent.trim() === "") event.preventDefault();
  });
  composer.addEventListener("htmx:afterRequest", (event) => {
    if (event.target !== composer || !event.detail.successful) return;
    if (content.value === sent) content.value = "";
    sessionStorage.removeItem(draftKey);
    problem.replaceChildren();
    const welcome = document.getElementById("welcome");
    if (welcome) welcome.remove();
    content.focus();
    document.dispatchEvent(new CustomEvent("chat:sent"));
  });

  document.addEventListener("chat:state", (event) => {
    const lost = document.activeElement === stop || document.activeElement === send;
    send.hidden = event.detail.running;
    stop.hidden = !event.detail.running;
    if (lost) content.focus();
  });

  if (!CSS.supports("field-sizing", "content")) { // where the style sheet cannot, the box grows like this
    content.addEventListener("input", () => {
      content.style.height = "auto";
      content.style.height = `${content.scrollHeight + 2}px`;
    });
  }

  const draft = sessionStorage.getItem(draftKey);
  if (draft && !content.value) content.value = draft;
  sessionStorage.removeItem(draftKey);
}
