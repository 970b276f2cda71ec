// Keeps the connection pools page current: puts in what the server renders, and renders nothing itself.
"use strict";

(() => {
  const root = document.getElementById("pools");
  if (!root?.dataset.shown) return;
  const RETRY = 15000; // milliseconds until a stream that was refused is asked for again
  const parts = new Map([...document.querySelectorAll("[data-part]")].map((place) => [place.dataset.part, place]));
  const note = document.getElementById("pools-note");
  const announced = document.getElementById("pools-announced");

  // -- Parts.  One that has the focus or is unfolded is replaced later, so that nothing moves under the reader.

  const held = new Map();
  const inUse = (place) => place.contains(document.activeElement) || place.querySelector("details[open]") !== null;

  function put(fresh) {
    for (const [name, html] of Object.entries(fresh)) held.set(name, html);
    for (const [name, html] of held) {
      const place = parts.get(name);
      if (place && inUse(place)) continue;
      if (place) place.innerHTML = html;
      held.delete(name);
    }
  }

  // -- Notes

  let outdated = false;

  function say(text) {
    note.textContent = text;
    note.hidden = !text;
  }

  // The page is loaded again for other pools, unless somebody is filling in a form.
  function compare(pools) {
    if (pools === root.dataset.shown) return;
    if (!document.querySelector("#pools details[open], #new details[open]")) { location.reload(); return; }
    outdated = true;
    say("The connection pools have changed. Reload the page to see them.");
  }

  // -- The stream.  A hidden page has none: browsers allow few connections to a server for all their pages.

  let source = null;

  function follow() {
    if (source || document.hidden) return;
    const mine = source = new EventSource(root.dataset.stream);
    const on = (kind, act) => mine.addEventListener(kind, (event) => act(JSON.parse(event.data)));
    on("parts", (fresh) => { if (!outdated) say(""); put(fresh); });
    on("pools", compare);
    on("announcement", (text) => { announced.textContent = text; });
    on("unavailable", ({ reason }) => { if (!outdated) say(reason); });
    on("end", () => { mine.close(); location.reload(); });
    mine.addEventListener("error", () => {
      if (mine.readyState !== EventSource.CLOSED) return; // the browser connects again
      source = null;
      setTimeout(follow, RETRY); // the token has too many streams, or the service is down
    });
  }

  function leave() {
    source?.close();
    source = null;
  }

  document.addEventListener("visibilitychange", () => { if (document.hidden) leave(); else follow(); });
  addEventListener("pagehide", leave);
  addEventListener("pageshow", follow);
})();
