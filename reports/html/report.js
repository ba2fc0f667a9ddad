(function () {
  "use strict";
  const all = (selector, root) => Array.from((root || document).querySelectorAll(selector));

  // Tables: a click on a header sorts by the unrounded number; the third click restores the order of the study.
  all("figure.table table").forEach((table) => {
    const body = table.tBodies[0];
    const original = Array.from(body.rows);
    all("tr.heads th", table).forEach((head, column) => {
      head.querySelector("button").addEventListener("click", () => {
        const next = { none: "descending", descending: "ascending", ascending: "none" }[head.getAttribute("aria-sort")];
        all("tr.heads th", table).forEach((other) => other.setAttribute("aria-sort", "none"));
        head.setAttribute("aria-sort", next);
        const sign = next === "descending" ? -1 : 1;
        const rows = original.slice();
        if (next !== "none") {
          rows.sort((a, b) => {
            const x = a.cells[column].dataset.v, y = b.cells[column].dataset.v;
            if (x === "" || y === "") return (x === "") - (y === "");
            const p = Number(x), q = Number(y);
            return sign * (Number.isFinite(p) && Number.isFinite(q) ? p - q : x.localeCompare(y));
          });
        }
        rows.forEach((row) => body.appendChild(row));
      });
    });
  });

  // Copy a text; browsers that refuse a page from a file the clipboard still obey a selection.
  window.lavitCopy = async function (text, tell) {
    let done = true;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const back = document.activeElement, area = document.createElement("textarea");
      area.value = text;
      document.body.appendChild(area);
      area.select();
      done = document.execCommand("copy");
      area.remove();
      if (back) back.focus({ preventScroll: true });
    }
    tell(done);
  };
  all("button[data-copy]").forEach((button) => {
    button.addEventListener("click", () => {
      const said = button.parentElement.querySelector(".said");
      window.lavitCopy(document.getElementById(button.dataset.copy).textContent, (done) => {
        said.textContent = done ? "copied" : "the browser does not allow copying; open Sources below";
        setTimeout(() => { said.textContent = ""; }, 2500);
      });
    });
  });

  // A link into something folded opens it.
  function unfold() {
    let wanted = null;
    try { wanted = document.getElementById(decodeURIComponent(location.hash.slice(1))); } catch { return; }
    for (let part = wanted; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
    if (wanted && wanted.tagName === "SECTION") all(":scope > details", wanted).forEach((part) => { part.open = true; });
  }
  window.addEventListener("hashchange", unfold);
  unfold();
})();
