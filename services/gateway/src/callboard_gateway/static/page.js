// What every live page does beyond htmx: times as the reader's clock shows them, and a word when the server is away.
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

// Said only when it changed, so that a screen reader is not interrupted again and again.
function say(text) {
  const announcer = document.getElementById("announcer");
  if (text && announcer.textContent !== text) announcer.textContent = text;
}

function setLost(lost) {
  document.getElementById("lost").hidden = !lost;
}

showLocalTimes(document);
