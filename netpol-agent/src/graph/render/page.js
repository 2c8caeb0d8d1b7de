"use strict";
const find = (selector) => Array.from(document.querySelectorAll(selector));
const search = document.getElementById("search");
const count = document.getElementById("count");
const drawing = document.querySelector(".drawing");
const whole = document.getElementById("whole");
const rows = find("tbody tr").map((row) => ({
  row,
  arrow: document.querySelector(`[data-arrow="${row.dataset.row}"]`),
  ends: [row.dataset.client, row.dataset.server],
  text: row.textContent.toLowerCase(),
}));
const peers = find("[data-peer]");

function show() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const near = new Set();
  let shown = 0;
  for (const { row, arrow, ends, text } of rows) {
    const fits = words.every((word) => text.includes(word));
    row.hidden = !fits;
    arrow.classList.toggle("dim", !fits);
    if (fits) {
      shown += 1;
      ends.forEach((end) => near.add(end));
    }
  }
  for (const peer of peers) {
    peer.classList.toggle("dim", !near.has(peer.dataset.peer));
  }
  count.textContent = `${shown} of ${rows.length} shown`;
}

function choose(peer) {
  search.value = peer.querySelector("title").textContent;
  show();
}

search.addEventListener("input", show);
document.getElementById("form").addEventListener("submit", (event) => event.preventDefault());
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    search.value = "";
    show();
  } else if (event.key === "/" && document.activeElement !== search) {
    event.preventDefault();
    search.focus();
  }
});
for (const peer of peers) {
  peer.setAttribute("tabindex", "0");
  peer.setAttribute("role", "button");
  peer.addEventListener("click", () => choose(peer));
  peer.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      choose(peer);
    }
  });
}
whole.addEventListener("click", () => {
  const fits = drawing.classList.toggle("whole");
  whole.setAttribute("aria-pressed", String(fits));
});
show();
