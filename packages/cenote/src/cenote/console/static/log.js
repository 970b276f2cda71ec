// Follows a log: new messages are asked for while the newest line is in view.  The server renders them.
"use strict";

(() => {
  const box = document.getElementById("log-lines");
  const button = document.getElementById("log-follow");
  const note = document.getElementById("log-note");
  if (!box || !button) return;
  const lines = box.querySelector("pre");
  const SOON = 1000, LATE = 5000, REFUSED = 20000; // milliseconds until messages are asked for again
  const KEPT = 400000; // characters; older lines are dropped
  let next = box.dataset.next, timer = null, following = false;

  // A log is laid out from its end: 0 is the newest line, and what is above has negative offsets.
  const atEnd = () => Math.abs(box.scrollTop) < 40;
  const say = (words) => { if (note.textContent !== words) note.textContent = words; };

  function later(pause) {
    clearTimeout(timer);
    if (following) timer = setTimeout(() => ask(pause), pause);
  }

  function put(html) {
    lines.insertAdjacentHTML("beforeend", html + "\n");
    let excess = lines.textContent.length - KEPT;
    while (excess > 0 && lines.firstChild) {
      excess -= lines.firstChild.textContent.length;
      lines.firstChild.remove();
    }
  }

  async function ask(pause) {
    if (!following) return;
    if (document.hidden) return later(SOON);
    if (!atEnd()) { say("Paused while older lines are in view."); return later(SOON); }
    try {
      const address = `${box.dataset.follow}&after=${encodeURIComponent(next)}`;
      const answer = await fetch(address, { credentials: "same-origin", headers: { accept: "application/json" } });
      if (answer.status === 401) { location.reload(); return; }
      if (answer.status === 429) { say("Waiting for the rate limit of the token."); return later(REFUSED); }
      if (!answer.ok) { say("The log cannot be read at the moment."); return later(LATE); }
      const found = await answer.json();
      if (!following) return;
      next = found.next;
      if (found.messages) put(found.html);
      say("Following.");
      later(found.messages ? SOON : Math.min(LATE, pause * 1.5));
    } catch { // the service is restarting
      say("The service does not answer.");
      later(LATE);
    }
  }

  button.addEventListener("click", () => {
    following = !following;
    button.setAttribute("aria-pressed", String(following));
    clearTimeout(timer);
    if (!following) { say("Stopped."); return; }
    box.scrollTop = 0;
    ask(SOON);
  });
})();
