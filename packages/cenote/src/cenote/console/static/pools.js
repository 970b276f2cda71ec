// The pictures of the pools, as things happen.  They are drawn as drawing.py draws them, with more points.
"use strict";

(() => {
  const root = document.getElementById("pools");
  if (!root) return;
  const WIDTH = 600, HEIGHT = 100, SECONDS = 900, GAP = 100, MOST = 900;
  const SPEAK_EVERY = 15000; // milliseconds between two things that are said to a screen reader
  const cards = new Map([...root.querySelectorAll("[data-pool]")].map((card) => [card.dataset.pool, card]));
  const past = new Map(); // by pool: rows, the oldest first
  const told = document.getElementById("pools-told");
  const unseen = document.getElementById("pools-unseen");

  // -- From rows to paths

  const number = (value) => value === 0 || Math.abs(value) >= 100 || value === Math.trunc(value)
    ? Math.round(value).toLocaleString("en") : value.toFixed(Math.abs(value) >= 10 ? 1 : 2);
  const seconds = (value) => value >= 1 ? `${number(value)} s` : value ? `${Math.round(value * 1000)} ms` : "0";
  const most = (rows, of, least) => rows.reduce((found, row) => Math.max(found, of(row)), least);

  function topOf(value) {
    const scale = 10 ** Math.floor(Math.log10(value));
    return [1, 2, 5, 10].map((step) => Number((step * scale).toPrecision(12))).find((step) => step >= value * (1 - 1e-9));
  }

  function pieces(rows, now) {
    const found = [];
    let before = -Infinity;
    for (const row of rows) {
      if (row.at < now - SECONDS) continue;
      if (row.at - before > GAP) found.push([]);
      found.at(-1).push(row);
      before = row.at;
    }
    return found;
  }

  const x = (at, now) => Math.round(WIDTH * 10 * (1 - (now - at) / SECONDS)) / 10;
  const y = (value, top) => Math.round(HEIGHT * 10 * (1 - Math.min(value, top) / top)) / 10;

  function area(rows, top, now, upper, lower = () => 0) {
    return pieces(rows, now).map((piece) => {
      const rise = piece.map((row) => `${x(row.at, now)} ${y(upper(row), top)}`);
      const fall = piece.toReversed().map((row) => `${x(row.at, now)} ${y(lower(row), top)}`);
      return `M${[...rise, ...fall].join("L")}Z`;
    }).join("");
  }

  function steps(rows, top, now, of) {
    return pieces(rows, now).map((piece) => {
      let drawn = `M${x(piece[0].at, now)} ${y(of(piece[0]), top)}`;
      for (const row of piece) drawn += `H${x(row.at, now)}V${y(of(row), top)}`;
      return drawn;
    }).join("");
  }

  // -- A card

  function set(card, name, text) {
    for (const place of card.querySelectorAll(`[data-v="${name}"]`)) if (place.textContent !== text) place.textContent = text;
  }

  function draw(card, rows) {
    const last = rows.at(-1);
    if (!last) return;
    const now = last.at;
    const path = (name, d) => card.querySelector(`.p-${name}`).setAttribute("d", d);
    const top = (name, words) => { card.querySelector(`[data-top="${name}"]`).textContent = words; };
    const clients = topOf(most(rows, (row) => row.active + row.waiting, 5));
    const servers = most(rows, (row) => row.size, 1) * 1.15;
    const wait = topOf(most(rows, (row) => row.wait, 0.1));
    const rate = topOf(most(rows, (row) => row.rate, 10));
    path("active", area(rows, clients, now, (row) => row.active));
    path("waiting", rows.some((row) => row.waiting) ? area(rows, clients, now, (row) => row.active + row.waiting, (row) => row.active) : "");
    path("busy", area(rows, servers, now, (row) => row.busy));
    path("size", steps(rows, servers, now, (row) => row.size));
    path("wait", rows.some((row) => row.wait) ? area(rows, wait, now, (row) => row.wait) : "");
    path("rate", area(rows, rate, now, (row) => row.rate));
    top("clients", number(clients));
    top("wait", seconds(wait));
    top("rate", number(rate));
    set(card, "active", String(last.active));
    set(card, "waiting", String(last.waiting));
    set(card, "busy", String(last.busy));
    set(card, "size", String(last.size));
    set(card, "wait", seconds(last.wait));
    set(card, "rate", number(last.rate));
  }

  // -- What is said, and not too often: that a pool has begun to wait, or has ended

  const waits = new Map();
  let spoken = 0, pending = new Map();

  function speak(name, waiting) {
    const card = cards.get(name);
    const recent = past.get(name).slice(-3);
    const now = waiting > 0 ? true : recent.some((row) => row.waiting > 0);
    card.classList.toggle("waits", waiting > 0);
    if (waits.get(name) === now) return;
    if (waits.has(name) || now) pending.set(name, now ? `Pool ${name}: ${waiting} ${waiting === 1 ? "client waits" : "clients wait"}.` : `Pool ${name}: nobody waits any more.`);
    waits.set(name, now);
  }

  setInterval(() => {
    if (!pending.size || Date.now() - spoken < SPEAK_EVERY) return;
    told.textContent = [...pending.values()].join(" ");
    pending = new Map();
    spoken = Date.now();
  }, 1000);

  function summarize() {
    for (const [name, card] of cards) {
      const rows = past.get(name) ?? [];
      if (!rows.length) continue;
      card.querySelector("[data-summary]").textContent =
        `In the last 15 minutes at most ${number(most(rows, (row) => row.active, 0))} clients were active and `
        + `${number(most(rows, (row) => row.waiting, 0))} waited, ${number(most(rows, (row) => row.busy, 0))} servers were busy, the longest `
        + `wait was ${seconds(most(rows, (row) => row.wait, 0))}, and there were up to ${number(most(rows, (row) => row.rate, 0))} transactions a second.`;
    }
  }
  setInterval(summarize, 30000);

  // -- The budget, and parts that only the server renders

  function share(sample) {
    const each = new Map(sample.pools.map((pool) => [pool.name, pool.size]));
    const connections = sample.connections;
    const values = { ...connections, capacity: connections.all - connections.reserved };
    for (const place of document.querySelectorAll("#budget [data-n]")) {
      const value = values[place.dataset.n];
      if (value !== null && value !== undefined) place.textContent = String(value);
    }
    let begin = 0;
    for (const rect of document.querySelectorAll("#budget [data-share]")) {
      const size = each.get(rect.dataset.share) ?? 0;
      rect.setAttribute("x", begin);
      rect.setAttribute("width", size);
      begin += size;
    }
    for (const place of document.querySelectorAll("#budget [data-size-of]")) place.textContent = String(each.get(place.dataset.sizeOf) ?? 0);
  }

  const busyTyping = () => root.querySelector("details[open]") !== null || document.querySelector("#new details[open]") !== null;

  async function renew() {
    const answer = await fetch(location.href, { credentials: "same-origin", headers: { accept: "text/html" } });
    if (answer.redirected) { location.reload(); return; }
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const place of document.querySelectorAll("[data-advice]")) {
      const next = [...page.querySelectorAll("[data-advice]")].find((one) => one.dataset.advice === place.dataset.advice);
      if (next && !place.contains(document.activeElement)) place.replaceChildren(...document.adoptNode(next).childNodes);
    }
  }

  function othersChanged(sample) {
    const are = sample.pools.map((pool) => pool.name + " " + pool.mode).join("\n");
    const here = [...cards].map(([name, card]) => name + " " + card.dataset.is.split(" ")[0]).join("\n");
    return are !== here && sample.pools.length > 0;
  }

  // -- What comes

  function take(sample) {
    unseen.hidden = true;
    if (othersChanged(sample)) {
      if (!busyTyping()) location.reload();
      else { unseen.textContent = "The pools have changed. Load the page again to see them."; unseen.hidden = false; }
    }
    for (const pool of sample.pools) {
      const card = cards.get(pool.name);
      if (!card) continue;
      const rows = past.get(pool.name) ?? [];
      past.set(pool.name, rows);
      if (rows.length && rows.at(-1).at >= sample.at) continue;
      rows.push({ at: sample.at, size: pool.size, active: pool.clients_active, waiting: pool.clients_waiting, busy: pool.servers_active, wait: pool.longest_wait_seconds, rate: pool.transactions_per_second });
      while (rows.length > MOST || rows[0].at < sample.at - SECONDS) rows.shift();
      draw(card, rows);
      speak(pool.name, pool.clients_waiting);
    }
    share(sample);
  }

  async function begin() {
    const answer = await fetch(root.dataset.past, { credentials: "same-origin", headers: { accept: "application/json" } });
    if (!answer.ok) return;
    for (const pool of await answer.json()) {
      if (!cards.has(pool.name)) continue;
      const rows = pool.at.map((at, index) => ({
        at, size: pool.size[index], active: pool.clients_active[index], waiting: pool.clients_waiting[index],
        busy: pool.servers_active[index], wait: pool.longest_wait_seconds[index], rate: pool.transactions_per_second[index],
      }));
      const newer = (past.get(pool.name) ?? []).filter((row) => !rows.length || row.at > rows.at(-1).at);
      past.set(pool.name, [...rows, ...newer]);
      draw(cards.get(pool.name), past.get(pool.name));
    }
  }

  let source = null;

  async function follow() {
    if (source || document.hidden || !cards.size) return;
    source = new EventSource(root.dataset.stream);
    const mine = source;
    let advised = false;
    mine.addEventListener("sample", (event) => take(JSON.parse(event.data)));
    mine.addEventListener("advice", (event) => {
      const shown = document.querySelectorAll(".advice").length;
      if (advised || JSON.parse(event.data).length !== shown) renew().catch(() => {});
      advised = true;
    });
    mine.addEventListener("unavailable", (event) => {
      const reason = JSON.parse(event.data).reason;
      unseen.textContent = reason;
      unseen.hidden = !reason;
    });
    mine.addEventListener("end", () => { mine.close(); location.reload(); });
    mine.addEventListener("error", () => {
      if (mine.readyState !== EventSource.CLOSED) return; // it comes back by itself
      source = null;
      setTimeout(follow, 15000); // too many pages follow, or the service is away
    });
    try { await begin(); } catch { /* the pictures begin with what comes */ }
  }

  // A page that nobody sees follows nothing: a browser has few connections for all of its pages.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { source?.close(); source = null; } else follow();
  });
  addEventListener("pagehide", () => { source?.close(); source = null; });
  addEventListener("pageshow", follow);
})();
