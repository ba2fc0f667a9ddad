// The example browser: what every arm said, seed by seed. Everything is set as text, never as markup.
(function () {
  "use strict";
  const all = (selector, root) => Array.from((root || document).querySelectorAll(selector));
  const source = document.getElementById("data");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const field = (name) => document.getElementById("f-" + name);
  const list = document.getElementById("list"), detail = document.getElementById("detail");
  let shown = [], current = null;

  function element(tag, text, name) {
    const made = document.createElement(tag);
    if (text !== undefined && text !== null) made.textContent = text;
    if (name) made.className = name;
    return made;
  }
  function isolated(tag, text, name) {
    const made = element(tag, null, name);
    made.appendChild(element("bdi", text));
    return made;
  }
  function picture(key, alt) {
    const made = element("img");
    made.src = data.pictures[key];
    made.alt = alt;
    return made;
  }
  function options(select, values) {
    values.forEach((value) => {
      const made = element("option", value);
      made.value = value;
      select.appendChild(made);
    });
  }
  options(field("benchmark"), [...new Set(data.examples.map((e) => e.benchmark))]);
  options(field("kind"), [...new Set(data.examples.map((e) => e.kind).filter(Boolean))].sort());

  const orders = {
    gap: (a, b) => b.gap / b.top - a.gap / a.top,
    win: (a, b) => b.margin / b.top - a.margin / a.top,
    lose: (a, b) => a.margin / a.top - b.margin / b.top,
    wobble: (a, b) => b.wobble / b.top - a.wobble / a.top,
    id: (a, b) => a.id.localeCompare(b.id, "en", { numeric: true }),
  };
  function words(example) {
    const said = example.arms.flat().map((chip) => chip.t);
    return [example.id, example.prompt, example.kind, ...example.truth, ...said].join("\n").toLowerCase();
  }
  function filter() {
    const benchmark = field("benchmark").value, kind = field("kind").value, why = field("why").value;
    const text = field("text").value.trim().toLowerCase();
    shown = data.examples.filter((e) =>
      (!benchmark || e.benchmark === benchmark) && (!kind || e.kind === kind) && (!why || e.why === why) &&
      (!text || words(e).includes(text)));
    shown.sort(orders[field("order").value]);
    field("count").textContent = shown.length + " of " + data.examples.length;
    list.replaceChildren(...shown.map(row));
    show(shown.includes(current) ? current : shown[0], false);
  }
  function row(example) {
    const item = element("li");
    if (example.image) item.appendChild(picture(example.image, ""));
    const side = element("div");
    side.appendChild(isolated("p", example.prompt || example.truth[0] || example.id));
    side.appendChild(element("small", example.benchmark + (example.kind ? " · " + example.kind : "") +
      (example.why === "random" ? " · at random" : "")));
    const bar = element("div", null, "bar"), fill = element("i");
    fill.style.width = Math.min(100, 100 * example.gap / example.top) + "%";
    bar.appendChild(fill);
    side.appendChild(bar);
    item.appendChild(side);
    item.addEventListener("click", () => show(example, true));
    return item;
  }
  function score(example, value) {
    if (example.top === 1 && (value === 0 || value === 1)) return value ? "✓" : "✗";
    return (value * example.scale).toFixed(1);
  }
  function show(example, address) {
    current = example || null;
    detail.replaceChildren();
    all("li", list).forEach((item, i) => {
      if (shown[i] === example) {
        item.setAttribute("aria-current", "true");
        const above = item.offsetTop - list.offsetTop;
        if (above < list.scrollTop || above + item.offsetHeight > list.scrollTop + list.clientHeight) {
          list.scrollTop = above - list.clientHeight / 2;
        }
      } else item.removeAttribute("aria-current");
    });
    if (!example) {
      detail.appendChild(element("p", "No example matches these filters."));
      return;
    }
    const top = element("div", null, "top"), side = element("div");
    if (example.image) top.appendChild(picture(example.image, "evaluated image"));
    side.appendChild(isolated("h3", example.prompt || "(no prompt: the image alone)"));
    const chosen = example.why === "random" ? "drawn at random" : "chosen by disagreement";
    const meta = isolated("p", example.id + " · " + example.metric + " · " + chosen, "meta");
    const link = element("a", "link");
    link.href = "#ex=" + encodeURIComponent(example.id);
    meta.append(" · ", link);
    side.appendChild(meta);
    const truth = element("ul", null, "truth");
    example.truth.forEach((text) => truth.appendChild(isolated("li", "truth: " + text)));
    side.appendChild(truth);
    top.appendChild(side);
    detail.appendChild(top);
    const table = element("table"), head = element("tr"), names = element("thead"), body = element("tbody");
    head.appendChild(element("td"));
    data.seeds.forEach((seed) => {
      const name = element("th", "seed " + seed);
      name.scope = "col";
      head.appendChild(name);
    });
    names.appendChild(head);
    table.append(names, body);
    data.arms.forEach((arm, a) => {
      if (!example.arms[a].length) return;
      const line = element("tr", null, a === 0 ? "mine" : "");
      const name = isolated("th", arm);
      name.scope = "row";
      line.appendChild(name);
      data.seeds.forEach((seed) => {
        const chip = example.arms[a].find((c) => c.s === seed);
        if (!chip) { line.appendChild(element("td", "–")); return; }
        const share = Math.max(0, Math.min(1, chip.v / example.top));
        const brief = !chip.i && chip.t.length <= 24 ? " brief" : "";
        const cell = element("td", null, "q" + Math.min(4, Math.floor(share * 5)) + brief);
        if (chip.i) cell.appendChild(picture(chip.i, "drawn by " + arm));
        const said = element("bdi", chip.t || "(empty)");
        said.title = chip.t;
        cell.appendChild(said);
        cell.appendChild(element("small", score(example, chip.v)));
        line.appendChild(cell);
      });
      body.appendChild(line);
    });
    detail.appendChild(table);
    if (address) history.replaceState(null, "", "#ex=" + encodeURIComponent(example.id));
  }
  function step(by) {
    if (!shown.length) return;
    const at = Math.max(0, shown.indexOf(current));
    show(shown[Math.max(0, Math.min(shown.length - 1, at + by))], true);
  }
  field("back").addEventListener("click", () => step(-1));
  field("next").addEventListener("click", () => step(1));
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.target === field("text") && event.key === "Escape") {
      field("text").value = "";
      filter();
      list.focus();
      return;
    }
    if (event.target.closest("input, select, textarea, .scroll, [role=dialog], [role=application]")) return;
    const inside = event.target.closest(".browser");
    if (event.key === "ArrowRight") step(1);
    else if (event.key === "ArrowLeft") step(-1);
    else if (inside && event.key === "ArrowDown") step(1);
    else if (inside && event.key === "ArrowUp") step(-1);
    else if (inside && event.key === "Home") step(-shown.length);
    else if (inside && event.key === "End") step(shown.length);
    else if (event.key === "/") {
      document.getElementById("examples").scrollIntoView();
      field("text").focus();
    } else return;
    event.preventDefault();
  });
  function open() {
    const match = /^#ex=(.+)$/.exec(location.hash);
    if (!match) return;
    let id;
    try { id = decodeURIComponent(match[1]); } catch { return; }
    const example = data.examples.find((e) => e.id === id);
    if (!example) return;
    if (!shown.includes(example)) {
      ["benchmark", "kind", "why", "text"].forEach((name) => { field(name).value = ""; });
      filter();
    }
    show(example, false);
    document.getElementById("examples").scrollIntoView();
  }
  ["benchmark", "kind", "why", "order"].forEach((name) => field(name).addEventListener("change", filter));
  field("text").addEventListener("input", filter);
  all("form.filters").forEach((form) => form.addEventListener("submit", (event) => event.preventDefault()));
  window.addEventListener("hashchange", open);
  filter();
  open();
})();
