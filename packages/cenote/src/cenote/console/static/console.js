// Conveniences where scripts run: copying, passwords in place, and status that is kept current.  Every page works without it.
"use strict";

(() => {
  const notices = document.getElementById("notices");
  const csrf = () => document.querySelector("input[name=form_token]")?.value ?? "";

  // For screen readers, too.
  function announce(words) {
    const line = document.createElement("p");
    line.className = "unseen";
    line.textContent = words;
    notices.append(line);
    setTimeout(() => line.remove(), 4000);
  }

  // -- Passwords: fetched only when somebody asks for them

  async function reveal(form) {
    const answer = await fetch(form.action, {
      method: "POST",
      headers: { accept: "application/json", "x-form-token": csrf(), "content-type": "application/x-www-form-urlencoded" },
      body: new URLSearchParams(new FormData(form)),
      credentials: "same-origin",
      redirect: "error",
    });
    if (!answer.ok) throw new Error(String(answer.status));
    return (await answer.json()).texts;
  }

  document.addEventListener("submit", async (event) => {
    const form = event.target.closest("form[data-reveal]");
    if (!form) return;
    event.preventDefault();
    const button = form.querySelector("button");
    if (button.dataset.shown) {
      for (const code of document.querySelectorAll("[data-hidden-text]")) {
        code.textContent = code.dataset.hiddenText;
        delete code.dataset.hiddenText;
      }
      delete button.dataset.shown;
      button.textContent = button.dataset.words;
      return;
    }
    try {
      for (const [id, text] of Object.entries(await reveal(form))) {
        const code = document.getElementById(id);
        if (!code) continue;
        code.dataset.hiddenText = code.textContent;
        code.textContent = text;
      }
      button.dataset.words = button.textContent;
      button.dataset.shown = "yes";
      button.textContent = "Hide password";
      announce("Password shown.");
    } catch {
      form.removeAttribute("data-reveal");
      form.submit(); // the answer is a page that says why
    }
  });

  // -- Copying: a hidden password is fetched for it and stays hidden

  async function textOf(id) {
    const code = document.getElementById(id);
    const form = document.querySelector("form[data-reveal]");
    if (code.dataset.secret === undefined || code.dataset.hiddenText !== undefined || !form) return code.textContent;
    return (await reveal(form))[id] ?? code.textContent;
  }

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-copy]");
    if (!button) return;
    const words = button.firstChild;
    const before = words.data;
    try {
      await navigator.clipboard.writeText(await textOf(button.dataset.copy));
      words.data = "Copied";
      announce("Copied.");
    } catch {
      words.data = "Copy failed";
      announce("Copy failed.");
    }
    setTimeout(() => { words.data = before; }, 1500);
  });

  // -- Status: parts of the page that are fetched again, soon while a change is in progress, else slowly

  // Soon at first, as most changes take a second, then with a backoff, since each request counts against the
  // token's rate limit.
  const FIRST = 700, LONGEST = 5000, RATE_LIMITED = 20000, SLOW = 15000;

  async function refresh(pause = FIRST) {
    const parts = [...document.querySelectorAll("[data-live]")];
    if (!parts.length) return;
    const slow = parts.every((part) => part.dataset.live === "slow");
    const passing = notices.querySelector("[data-passing]") !== null;
    await new Promise((resolve) => setTimeout(resolve, slow && !passing ? SLOW : pause));
    const next = Math.min(slow ? SLOW : LONGEST, pause * 1.4);
    if (document.hidden) return refresh(next);
    try {
      const answer = await fetch(location.href, { credentials: "same-origin", headers: { accept: "text/html" } });
      if (answer.status === 429) return refresh(RATE_LIMITED);
      // Nothing that is being typed on a page at rest is lost to a session that has expired.
      if (slow && (answer.redirected || !answer.ok)) return answer.redirected ? undefined : refresh(next);
      if (answer.redirected || !answer.ok) { location.reload(); return; }
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of parts) {
        if (part.contains(document.activeElement)) continue; // later, so that nothing moves under the reader
        const fresh = page.getElementById(part.id);
        if (!fresh && slow) return;
        if (!fresh) { location.reload(); return; }
        const before = part.querySelector(".state")?.textContent.trim();
        const state = fresh.querySelector(".state")?.textContent.trim();
        part.replaceWith(document.adoptNode(fresh));
        if (part.id === "cluster-head" && state !== before) announce(state);
      }
      show();
      settle();
    } catch { /* the service is restarting; try again */ }
    return refresh(next);
  }

  function show() {
    for (const part of document.querySelectorAll(".js-only[hidden]")) part.hidden = false;
  }

  // -- Times: "5 minutes ago" is kept true, by the rule of times.py

  const UNITS = [["year", 31536000], ["month", 2592000], ["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
  const TIMES = 10000;
  // The clocks of the browser and of the service may differ.
  const ahead = Date.now() - 1000 * Number(document.documentElement.dataset.now);

  function relative(seconds) {
    const whole = Math.floor(Math.abs(seconds));
    if (whole < 10) return "just now";
    const [unit, length] = UNITS.find((one) => whole >= one[1]);
    const count = Math.floor(whole / length);
    const words = `${count} ${unit}${count > 1 ? "s" : ""}`;
    return seconds > 0 ? `${words} ago` : `in ${words}`;
  }

  function tick() {
    for (const time of document.querySelectorAll("time.ago")) {
      const words = relative((Date.now() - ahead - Date.parse(time.dateTime)) / 1000);
      if (time.textContent !== words) time.textContent = words;
    }
  }

  setInterval(tick, TIMES);

  // -- Notices: one of a change in progress goes when the cluster is at rest, any other with the next change

  function settle() {
    const head = document.getElementById("cluster-head");
    if (!head || head.dataset.live !== "slow") return;
    const waiting = head.querySelector("[data-waiting]") !== null;
    for (const notice of notices.querySelectorAll("[data-passing]")) {
      if (notice.dataset.passing === "status" || !waiting) notice.remove();
    }
  }

  document.addEventListener("input", (event) => {
    if (!event.target.closest("form[method=post]")) return;
    for (const notice of notices.querySelectorAll(".notice:not([data-passing])")) notice.remove();
  });

  // On a narrow screen the tabs do not fit side by side.
  document.querySelector(".tabs [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
  show();
  refresh();
})();
