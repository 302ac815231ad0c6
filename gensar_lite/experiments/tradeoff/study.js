// Tables that sort, points that tell what they are. Without it the page still says everything:
// tables stand in the study's order, points have titles.
"use strict";

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      // numbers begin with the largest, words with the first letter
      const rows = [...body.rows];
      const key = (row) => row.cells[column].dataset.sort;
      const full = rows.filter((row) => key(row) !== "");
      const numbers = full.every((row) => !Number.isNaN(Number(key(row))));
      const now = head.getAttribute("aria-sort");
      const down = now ? now === "ascending" : numbers;
      const order = (a, b) =>
        numbers ? Number(key(a)) - Number(key(b)) : key(a).localeCompare(key(b), "en");
      full.sort((a, b) => (down ? order(b, a) : order(a, b)));
      body.append(...full, ...rows.filter((row) => key(row) === "")); // no figure: last
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
    });
  });
}

const tip = document.getElementById("tip");
for (const point of document.querySelectorAll("svg .point")) {
  const title = point.querySelector("title");
  const lines = title.textContent.split("\n");
  title.remove(); // else the browser's own tip covers ours
  const show = () => {
    tip.replaceChildren(
      ...lines.map((line, i) => {
        const part = document.createElement(i ? "div" : "strong");
        part.textContent = line;
        return part;
      })
    );
    tip.hidden = false;
    const box = point.getBoundingClientRect();
    const left = Math.min(box.right + 8, document.documentElement.clientWidth - tip.offsetWidth - 8);
    const above = box.top - tip.offsetHeight - 8;
    tip.style.left = `${Math.max(left, 8)}px`;
    tip.style.top = `${above < 8 ? box.bottom + 8 : above}px`;
  };
  const hide = () => {
    tip.hidden = true;
  };
  point.addEventListener("pointerenter", show);
  point.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && hide());
  point.addEventListener("focus", show);
  point.addEventListener("blur", hide);
  point.addEventListener("click", show);
  point.addEventListener("keydown", (event) => event.key === "Escape" && hide());
}
addEventListener("scroll", () => (tip.hidden = true), { passive: true });
