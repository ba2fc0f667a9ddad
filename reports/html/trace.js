// From a number to its runs: a cell of a table tells its seeds, run ids, examples, commit and command.
(function () {
  "use strict";
  const source = document.getElementById("runs-data");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const all = (selector, root) => Array.from((root || document).querySelectorAll(selector));
  const own = (object, key) => (Object.hasOwn(object, key) ? object[key] : undefined);

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
  function line(into, name, ...parts) {
    const row = element("div");
    row.appendChild(element("dt", name));
    const said = element("dd");
    parts.forEach((part) => said.append(part));
    row.appendChild(said);
    into.appendChild(row);
  }
  function format(column, value, signed) {
    if (column.form === "p") return chance(value);
    const text = (value * column.scale).toFixed(column.decimals);
    if (Number(text) === 0) return text.replace("-", "");
    return text.startsWith("-") ? "−" + text.slice(1) : (signed ? "+" : "") + text;
  }
  const chance = (p) => (p === undefined ? "–" : p < 0.001 ? "< 0.001" : p.toFixed(3));
  const grouped = (count) => count.toLocaleString("en-US");

  const panel = element("div", null, "trace");
  panel.id = "trace";
  panel.hidden = true;
  panel.setAttribute("role", "dialog");
  panel.setAttribute("aria-label", "Where this number comes from");
  document.body.appendChild(panel);
  let anchor = null, pinned = false, timer = 0;

  function place(cell) {
    const box = cell.getBoundingClientRect(), width = document.documentElement.clientWidth;
    panel.style.maxHeight = "";
    const left = Math.max(8, Math.min(box.left, width - panel.offsetWidth - 8));
    const below = window.innerHeight - box.bottom, fits = below > panel.offsetHeight + 12 || below > box.top;
    const room = Math.max(160, (fits ? below : box.top) - 14);
    panel.style.maxHeight = Math.min(room, 460) + "px";
    const top = fits ? box.bottom + 4 : box.top - 4 - Math.min(panel.offsetHeight, room);
    panel.style.left = left + window.scrollX + "px";
    panel.style.top = top + window.scrollY + "px";
  }
  function close(back) {
    clearTimeout(timer);
    if (anchor) anchor.classList.remove("traced");
    const cell = anchor;
    anchor = null;
    pinned = false;
    panel.hidden = true;
    if (back && cell) cell.focus();
  }
  function open(found, pin) {
    clearTimeout(timer);
    if (anchor && anchor !== found.cell) anchor.classList.remove("traced");
    anchor = found.cell;
    pinned = pin;
    anchor.classList.add("traced");
    fill(found);
    panel.hidden = false;
    place(anchor);
    panel.scrollTop = 0;
  }
  function copying(text, what) {
    const button = element("button", "copy " + what);
    button.type = "button";
    button.addEventListener("click", () => window.lavitCopy(text, (done) => {
      button.textContent = done ? "copied" : "not allowed here";
    }));
    return button;
  }

  function fill(found) {
    const { told, column, row, table } = found;
    panel.replaceChildren();
    const head = element("div", null, "head");
    const title = element("h3");
    title.append(element("bdi", row.name), " · ", element("bdi", (column.group ? column.group + " " : "") + column.label));
    head.appendChild(title);
    const shut = element("button", "×", "shut");
    shut.type = "button";
    shut.setAttribute("aria-label", "Close");
    shut.addEventListener("click", () => close(true));
    head.appendChild(shut);
    panel.appendChild(head);
    const facts = element("dl");
    if (told.ends) {
      line(facts, "interval", "[" + told.ends.map((end) => format(column, end)).join(", ") + "]",
        element("span", " stored " + told.ends.join(", "), "raw"));
    } else {
      line(facts, "value", format(column, told.mean) +
        (told.sd !== undefined ? " ± " + format(column, told.sd) + " (SD of seeds)" : ""),
        element("span", " stored " + told.mean, "raw"));
    }
    [["delta", "Δ to the default"], ["gap", "difference"]].forEach(([key, name]) => {
      const d = told[key];
      if (!d) return;
      line(facts, name, format(column, d.estimate, true) + " [" + format(column, d.low) + ", " + format(column, d.high) +
        "], p " + chance(d.p) + (d.adjusted !== undefined ? ", adjusted " + chance(d.adjusted) + " (family of " +
        d.family + ")" : ""));
      line(facts, "covers", d.scope + ": " + d.seeds + (d.seeds === 1 ? " seed, " : " seeds, ") + grouped(d.examples) +
        " examples in " + grouped(d.clusters) + " clusters" +
        (d.detectable !== undefined ? "; would have seen " + format(column, d.detectable) : ""));
    });
    const scored = told.examples || column.examples;
    if (scored) {
      line(facts, "measured on", grouped(scored) + " examples" + (column.clusters && scored === column.examples ?
        " in " + grouped(column.clusters) + " clusters" : "") + (column.benchmark ? " of " + column.benchmark : "") +
        (column.split ? ", split " + column.split : ""));
    }
    const rule = column.benchmark && own(data.rules, column.benchmark);
    if (rule) line(facts, "evaluated by", "rule " + rule.join(", ") + " (see Audit, Evaluation)");
    const commits = new Set();
    const runs = row.arms.flatMap((arm) => (own(data.runs, arm) || []).filter((run) => run.status === "done")
      .map((run) => ({ ...run, arm: row.arms.length > 1 ? arm : "" })));
    runs.forEach((run) => run.commits.forEach((commit) => commits.add(commit)));
    if (commits.size) line(facts, "code", [...commits].map(spoken).join(", "));
    else if (data.commit) line(facts, "code", spoken(data.commit + (data.dirty ? "+" : "")) + ", when collected");
    panel.appendChild(facts);
    const used = told.seeds ? new Set(told.seeds.map((pair) => pair[0])) : null;
    const list = element("ol", null, "runs");
    runs.filter((run) => !used || used.has(run.s)).forEach((run) => list.appendChild(about(run, told, column)));
    panel.appendChild(list);
    const foot = element("p", null, "foot");
    const link = element("a", "link to this cell");
    link.href = address(table.name, row, column);
    foot.append(link, data.link ? "" : data.tracked ? " · MLflow keeps this study in a local store: `lavit ui` opens it" : "");
    panel.appendChild(foot);
  }
  function spoken(commit) {
    const clean = !commit.endsWith("+");
    return "commit " + commit.replace(/\+$/, "").slice(0, 12) + (clean ? "" : " with uncommitted changes");
  }
  function about(run, told, column) {
    const item = element("li"), pair = (told.seeds || []).find(([seed]) => seed === run.s);
    const top = element("p");
    if (run.arm) top.append(element("bdi", run.arm), " ");
    top.append(element("b", "seed " + run.s), pair ? " " + format(column, pair[1]) + " " : " ");
    if (pair) top.appendChild(element("span", String(pair[1]), "raw"));
    item.appendChild(top);
    const ids = element("p", null, "ids");
    if (run.id && data.link) {
      const link = element("a", "MLflow run " + run.id.slice(0, 8));
      link.href = data.link.replace("RUN", encodeURIComponent(run.id));
      link.rel = "noopener noreferrer";
      link.target = "_blank";
      ids.append(link, " ");
    } else if (run.id) ids.append(element("span", "MLflow run "), element("code", run.id), " ");
    if (run.records) ids.append(element("span", "records "), element("code", run.records), " ");
    item.appendChild(ids);
    const stages = Object.entries(run.stages);
    if (stages.length) {
      const keys = element("p", null, "ids");
      keys.append("stages ");
      stages.forEach(([stage, key]) => keys.append(stage + " ", element("code", key.slice(0, 8)), " "));
      item.appendChild(keys);
    }
    if (run.command) {
      const again = element("p", null, "again");
      again.append(element("code", run.command), " ", copying(run.command, "command"));
      item.appendChild(again);
    }
    return item;
  }
  function address(name, row, column) {
    return "#cell=" + [name, row.key, column.key].map(encodeURIComponent).join("/");
  }

  // Cells: the table is a grid with one tab stop; arrow keys move in it, Enter opens, Escape closes.
  const found = new WeakMap(), grids = [];
  all("table[data-table]").forEach((figure) => {
    const name = figure.dataset.table, table = own(data.tables, name);
    if (!table) return;
    table.name = name;
    const heads = all("tr.heads th", figure), lines = all("tbody tr[data-row]", figure);
    const grid = { table, cells: [] };
    lines.forEach((line) => {
      const row = table.rows[Number(line.dataset.row)];
      if (!row) return;
      Array.from(line.cells).forEach((cell, at) => {
        const index = heads[at] ? Number(heads[at].dataset.col) : NaN, told = row.cells[index];
        if (!told || (told.mean === undefined && !told.ends)) return;
        cell.removeAttribute("title");
        cell.classList.add("traceable");
        cell.setAttribute("aria-haspopup", "dialog");
        cell.tabIndex = grid.cells.length ? -1 : 0;
        found.set(cell, { cell, told, row, table, column: table.columns[index] });
        grid.cells.push(cell);
      });
    });
    if (!grid.cells.length) return;
    grids.push(grid);
    figure.addEventListener("keydown", (event) => onKey(event, grid));
  });
  function onKey(event, grid) {
    const cell = event.target.closest && event.target.closest(".traceable");
    if (!cell || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "Enter" || event.key === " ") {
      open(found.get(cell), true);
      const first = panel.querySelector("a, button");
      if (first) first.focus();
    } else if (/^Arrow/.test(event.key) || event.key === "Home" || event.key === "End") {
      const next = beside(cell, event.key);
      if (next) {
        grid.cells.forEach((other) => { other.tabIndex = -1; });
        next.tabIndex = 0;
        next.focus();
        if (anchor) open(found.get(next), false);
      }
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }
  function beside(cell, key) {
    const row = cell.parentElement, rows = Array.from(row.parentElement.rows);
    if (key === "ArrowUp" || key === "ArrowDown") {
      const step = key === "ArrowUp" ? -1 : 1;
      for (let at = rows.indexOf(row) + step; rows[at]; at += step) {
        const other = rows[at].cells[cell.cellIndex];
        if (other && found.has(other)) return other;
      }
      return null;
    }
    const cells = Array.from(row.cells).filter((other) => found.has(other)), at = cells.indexOf(cell);
    return { ArrowLeft: cells[at - 1], ArrowRight: cells[at + 1], Home: cells[0], End: cells[cells.length - 1] }[key];
  }
  document.addEventListener("click", (event) => {
    const cell = event.target.closest(".traceable");
    if (cell && found.has(cell)) {
      if (anchor === cell && pinned) close(false);
      else open(found.get(cell), true);
    } else if (anchor && !panel.contains(event.target)) close(false);
  });
  document.addEventListener("mouseover", (event) => {
    if (pinned) return;
    const cell = event.target.closest(".traceable");
    clearTimeout(timer);
    if (cell && found.has(cell)) timer = setTimeout(() => open(found.get(cell), false), anchor ? 120 : 450);
    else if (anchor && !panel.contains(event.target)) timer = setTimeout(() => close(false), 250);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !anchor) return;
    close(panel.contains(document.activeElement) || pinned);
    event.preventDefault();
  });
  window.addEventListener("resize", () => close(false));

  // #cell=TABLE/ARM/COLUMN leads to one number.
  function follow() {
    const match = /^#cell=([^/]+)\/([^/]+)\/([^/]+)$/.exec(location.hash);
    if (!match) return;
    let wanted;
    try { wanted = match.slice(1).map(decodeURIComponent); } catch { return; }
    const grid = grids.find((g) => g.table.name === wanted[0]);
    const cell = grid && grid.cells.find((c) => {
      const told = found.get(c);
      return told.row.key === wanted[1] && told.column.key === wanted[2];
    });
    if (!cell) return;
    cell.scrollIntoView({ block: "center", inline: "center" });
    open(found.get(cell), true);
  }
  window.addEventListener("hashchange", follow);
  follow();
})();
