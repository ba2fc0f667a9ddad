(function () {
  "use strict";
  const source = document.getElementById("chart-data");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const field = (name) => document.getElementById("c-" + name);
  const COLOURS = ["#1b1b1b", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5195"];
  const INKS = ["#1b1b1b", "#005a8e", "#a34700", "#00714f", "#9c3f77", "#8a5f00", "#1b6f9c", "#5e3a72"];  // for text
  const SHAPES = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right"];
  const GLYPHS = ["●", "■", "▲", "◆", "✚", "▼", "▶"];
  const DASHES = [[1, 0], [7, 3], [2, 2], [9, 3, 2, 3], [4, 2]];
  const CORNERS = [[8, -8], [8, 9], [-8, -8], [-8, 9]];  // pixels from a point to its label
  const UNITS = ["", "k", "M", "G", "T", "P", "E", "Z", "Y"];
  const FONT = "'Source Sans 3','Helvetica Neue',Helvetica,Arial,'Liberation Sans','DejaVu Sans',sans-serif";
  const hidden = new Set();
  const charts = {};  // name -> {view, turn}
  let picked = -1;

  // Words. Foreign text is only ever set as text.
  function element(tag, text, name) {
    const made = document.createElement(tag);
    if (text !== undefined && text !== null) made.textContent = text;
    if (name) made.className = name;
    return made;
  }
  const signed = (text) => text.replace("-", "−");
  const fixed = (value, measure) => signed(value.toFixed(measure.decimals));
  function short(value) {
    const size = Math.abs(value);
    if (size !== 0 && (size >= 1e5 || size < 1e-3)) return signed(value.toExponential(3));
    return signed(String(Number(value.toPrecision(4))));
  }
  function large(value) {
    const power = Math.max(0, Math.min(UNITS.length - 1, Math.floor(Math.log10(value || 1) / 3)));
    return short(value / 1000 ** power) + " " + UNITS[power];
  }
  function levels(arm) {
    return data.axes.map((axis, i) => {
      const place = data.arms[arm].levels[i];
      return axis.name + ": " + (place === null ? "none" : axis.levels[place]);
    }).join(" · ");
  }
  function scored(arm, measure) {
    const mean = measure.mean[arm];
    if (mean === null) return [measure.label + ": not scored"];
    let text = measure.label + " " + fixed(mean, measure);
    if (measure.sd[arm] !== null) text += " ± " + fixed(measure.sd[arm], measure) + " SD";
    const lines = [text];
    if (measure.low[arm] !== null) {
      lines.push("95 % [" + fixed(measure.low[arm], measure) + ", " + fixed(measure.high[arm], measure) + "], " + measure.scope);
    }
    const runs = measure.runs[arm], first = runs.slice(0, 10).map((run) => run[0] + ": " + fixed(run[1], measure));
    lines.push((runs.length > 1 ? "seeds " : "seed ") + first.join(" · ") + (runs.length > 10 ? " …" : ""));
    return lines;
  }
  function told(arm, lines) {
    const box = element("div", null, "told"), head = element("h4", arm + 1 + "  ");
    head.appendChild(element("bdi", data.arms[arm].name + (data.arms[arm].default && data.arms[arm].name !== "default" ? " (default)" : "")));
    box.appendChild(head);
    [levels(arm), ...lines].filter(Boolean).forEach((line) => box.appendChild(element("p")).appendChild(element("bdi", line)));
    return box;
  }
  function about(arm) {
    if (!data.measures.length) return [];
    const measure = chosenMeasure(), cost = chosenCost(), spent = cost.values[arm];
    const lines = scored(arm, measure);
    if (spent !== null) lines.push(cost.label + " " + short(spent));
    if (spent !== null && measure.mean[arm] !== null) {
      lines.push(front().includes(arm) ? "on the Pareto front" : "another arm does better at no greater cost");
    }
    return lines;
  }

  // What is chosen.
  const chosenMeasure = () => data.measures[Number(field("measure").value)];
  const chosenCost = () => data.costs[Number(field("cost").value)];
  const front = () => chosenMeasure().fronts[Number(field("cost").value)];
  const axis = () => Number(field("colour").value);
  const shown = (arm) => !hidden.has(arm);
  function group(arm) {  // the place of an arm's colour, shape and dash
    if (axis() < 0) return arm;
    const place = data.arms[arm].levels[axis()];
    return place === null ? data.axes[axis()].levels.length : place;
  }
  const colour = (place) => COLOURS[place % COLOURS.length], ink = (place) => INKS[place % INKS.length];

  // Specifications.
  function scales() {
    const used = [...new Set(data.arms.map((_, arm) => group(arm)))].sort((a, b) => a - b);
    const scale = (range) => ({ domain: used, range: used.map((place) => range[place % range.length]) });
    return {
      color: { field: "group", type: "nominal", scale: scale(COLOURS), legend: null },
      shape: { field: "group", type: "nominal", scale: scale(SHAPES), legend: null },
      dash: { field: "group", type: "nominal", scale: scale(DASHES), legend: null },
    };
  }
  const faded = (full, pale) => ({ condition: { test: "picked < 0 || datum.arm === picked", value: full }, value: pale });
  function specification(description, height, layer, values) {
    return {
      $schema: "https://vega.github.io/schema/vega-lite/v6.json",
      description, height, autosize: { type: "fit", contains: "padding" },
      padding: { left: 4, right: 14, top: 6, bottom: 4 },
      params: [{ name: "picked", value: picked }],
      datasets: values, layer: layer.filter((one) => values[one.data.name].length),
      config: {
        font: FONT, view: { stroke: null }, aria: true,
        axis: { labelFontSize: 11.5, titleFontSize: 12, titleFontWeight: 600, labelColor: "#3b4552", titleColor: "#1c2430",
          gridColor: "#e8ebef", domainColor: "#7c8794", tickCount: 9, tickColor: "#7c8794", labelFlush: false },
      },
    };
  }
  // The wheel zooms with Ctrl held, so that it still scrolls the page otherwise.
  const zoom = [{ name: "zoom", bind: "scales", select: { type: "interval", zoom: "wheel![event.ctrlKey || event.metaKey]" } }];
  const scaleOf = (name) => field(name).checked ? { type: "log", nice: true } : { zero: false, nice: true, padding: 14 };

  function pareto() {
    const measure = chosenMeasure(), cost = chosenCost(), best = front(), looks = scales();
    const points = data.arms.map((_, arm) => ({
      arm, group: group(arm), x: cost.values[arm], y: measure.mean[arm], low: measure.low[arm], high: measure.high[arm],
      fill: best.includes(arm) ? colour(group(arm)) : "#ffffff", label: String(arm + 1), ink: ink(group(arm)), said: [data.arms[arm].name, levels(arm), ...scored(arm, measure),
        cost.label + " " + short(cost.values[arm] ?? 0)].join("; "),
    })).filter((p) => p.x !== null && p.y !== null);
    const seen = points.filter((p) => shown(p.arm)), many = seen.length > 60;
    const corners = best.map((arm) => ({ x: cost.values[arm], y: measure.mean[arm] }));
    const better = measure.better === "lower" ? "lower is better" : "higher is better";
    const x = { field: "x", type: "quantitative", title: cost.label, scale: scaleOf("cost-log") };
    const y = { field: "y", type: "quantitative", title: measure.label + " (" + better + ")",
      scale: { zero: false, nice: true, padding: 12 } };
    say("pareto", "Mean over seeds" + (seen.some((p) => p.low !== null) ? " with its 95 % interval over " + measure.scope : "") +
      ". Dashed: the Pareto front over all arms; a filled mark is on it, a hollow one is beaten at no greater cost (by the " +
      "means, whatever the intervals). Numbers name the arms, as in the list. Drag to move, Ctrl and wheel to zoom, " +
      "double-click to reset; a click picks an arm." + missing(points));
    return specification(measure.label + " against " + cost.label, 350, [
      { data: { name: "front" }, mark: { type: "line", interpolate: "step-after", strokeDash: [4, 3], color: "#7c8794", strokeWidth: 1.2, clip: true, aria: false },
        encoding: { x, y } },
      { data: { name: "whiskers" }, mark: { type: "rule", strokeWidth: 1.4, clip: true, aria: false },
        encoding: { x, y: { ...y, field: "low" }, y2: { field: "high" }, color: looks.color, opacity: faded(0.85, 0.15) } },
      { name: "points", params: zoom, data: { name: "points" },
        mark: { type: "point", size: many ? 45 : 95, strokeWidth: 1.8, clip: true },
        encoding: { x, y, color: looks.color, shape: looks.shape, opacity: faded(1, 0.25), tooltip: { value: "shown" },
          fill: { field: "fill", type: "nominal", scale: null }, fillOpacity: { value: 1 }, description: { field: "said" } } },
      ...CORNERS.map(([dx, dy], corner) => ({ data: { name: "labels" + corner },
        mark: { type: "text", align: dx < 0 ? "right" : "left", dx, dy, fontSize: 11, fontWeight: 600, clip: true, aria: false },
        encoding: { x, y, text: { field: "label" }, color: { field: "ink", type: "nominal", scale: null }, opacity: faded(1, 0.25) } })),
    ], { points: seen, whiskers: seen.filter((p) => p.low !== null), front: corners, ...besides(many ? [] : seen) });
  }
  function besides(points) {  // each label in the corner of its point where it meets the least
    const spread = (key) => Math.max(...points.map((p) => p[key])) - Math.min(...points.map((p) => p[key])) || 1;
    const across = 700 / spread("x"), down = 260 / spread("y");  // pixels, roughly
    const taken = points.map((p) => [p.x * across, -p.y * down]), placed = CORNERS.map(() => []);
    points.forEach((p) => {
      const spots = CORNERS.map(([dx, dy]) => [p.x * across + dx * 1.6, -p.y * down + dy]);
      const meets = spots.map((spot) => taken.filter((t) => Math.abs(t[0] - spot[0]) < 15 && Math.abs(t[1] - spot[1]) < 11).length);
      const best = meets.indexOf(Math.min(...meets));
      taken.push(spots[best]);
      placed[best].push(p);
    });
    return Object.fromEntries(placed.map((own, corner) => ["labels" + corner, own]));
  }
  function missing(points) {
    const lacking = data.arms.map((_, arm) => arm).filter((arm) => !points.some((p) => p.arm === arm));
    return lacking.length ? " Without one of the two, so not drawn: " + lacking.slice(0, 12).map((arm) => arm + 1).join(", ") +
      (lacking.length > 12 ? " …" : "") + "." : "";
  }

  function curves() {
    const curve = data.curves[Number(field("curve").value)], clock = field("clock").value, looks = scales();
    const log = field("value-log").checked, points = [];
    const kinds = new Set();
    let spread = 0;
    curve.lines.filter((line) => shown(line.arm)).forEach((line) => {
      line.step.forEach((step, i) => {
        const at = clock === "step" ? step : line.flops[i], mean = line.mean[i];
        if (at === null || mean === null || (log && mean <= 0)) return;
        const low = line.low ? line.low[i] : mean, high = line.high ? line.high[i] : mean;
        points.push({ arm: line.arm, group: group(line.arm), x: at, y: mean, step, flops: line.flops[i], seeds: line.seeds,
          low: log && low <= 0 ? mean : low, high, band: line.band, said: data.arms[line.arm].name });
      });
      spread = Math.max(spread, line.seeds);
      if (line.band) kinds.add(line.band);
    });
    const ends = curve.lines.map((line) => points.findLast((p) => p.arm === line.arm)).filter(Boolean);
    const last = Math.max(0, ...points.map((p) => p.x));
    const x = { field: "x", type: "quantitative", title: clock === "step" ? "optimizer steps" : "training FLOPs",
      axis: { format: clock === "step" ? ",~f" : "~s" }, scale: { domain: [0, last * 1.035 || 1], nice: false } };
    const y = { field: "y", type: "quantitative", title: curve.label, scale: log ? { type: "log" } : { zero: false, nice: true } };
    const lines = { detail: { field: "arm" } };
    say("curves", (spread > 1 ? "Mean over up to " + spread + " seeds; band: " + [...kinds].join(" or ") + "." : "One seed: no band.") +
      " A number at a curve's end names its arm." + (data.notes.length ? " " + data.notes.join(" ") : ""));
    return specification(curve.label + " on " + x.title, 300, [
      { name: "bands", data: { name: "bands" }, mark: { type: "area", clip: true, aria: false },
        encoding: { x, y: { ...y, field: "low" }, y2: { field: "high" }, ...lines, color: looks.color, opacity: faded(ends.length > 6 ? 0.08 : 0.15, 0.03) } },
      { name: "lines", params: zoom, data: { name: "points" }, mark: { type: "line", strokeWidth: 1.7, clip: true },
        encoding: { x, y, ...lines, color: looks.color, strokeDash: looks.dash, description: { field: "said" },
          opacity: faded(1, 0.18) } },
      { name: "spots", data: { name: "points" }, mark: { type: "circle", size: 90, clip: true, aria: false },
        encoding: { x, y, color: looks.color, opacity: { value: 0 }, tooltip: { value: "shown" } } },
      { data: { name: "ends" }, mark: { type: "text", align: "left", dx: 5, fontSize: 11, fontWeight: 600, clip: true, aria: false },
        encoding: { x, y, text: { field: "label" }, color: { field: "ink", type: "nominal", scale: null }, opacity: faded(1, 0.25) } },
    ], { points, ends: apart(ends, points, log), bands: field("band").checked ? points.filter((p) => p.band) : [] });
  }
  function apart(ends, points, log) {  // labels at the ends of curves, pushed apart where they would meet
    const on = (value) => log ? Math.log(value) : value, range = points.flatMap((p) => [on(p.low), on(p.high)]);
    const gap = (Math.max(...range) - Math.min(...range)) * 0.055;
    const labels = ends.map((p) => ({ ...p, at: on(p.y), label: String(p.arm + 1), ink: ink(p.group) })).sort((a, b) => a.at - b.at);
    for (let turn = 0, moved = true; moved && turn < 200; turn++) {
      moved = false;
      labels.slice(1).forEach((label, i) => {
        const lack = gap - (label.at - labels[i].at);
        if (lack <= gap * 1e-6) return;
        labels[i].at -= lack / 2;
        label.at += lack / 2;
        moved = true;
      });
    }
    return labels.map((label) => ({ ...label, y: log ? Math.exp(label.at) : label.at }));
  }
  function overCurve(point) {
    const curve = data.curves[Number(field("curve").value)];
    const lines = [curve.label + " " + short(point.y) + (point.band ? ", " + point.band + " " + short(point.low) + " to " + short(point.high) : ""),
      "step " + point.step.toLocaleString("en") + (point.flops !== null ? ", " + large(point.flops) + "FLOPs" : ""),
      point.seeds + (point.seeds > 1 ? " seeds" : " seed")];
    return told(point.arm, lines);
  }

  // Drawing.
  function say(name, text) {
    document.getElementById("say-" + name).textContent = text;
  }
  const tip = document.getElementById("c-tip");
  function hover(content) {
    return (handler, event, item, value) => {
      tip.hidden = !value;
      if (!value) return;
      tip.replaceChildren(content(item.datum));
      const box = tip.getBoundingClientRect();
      const left = event.clientX + 14 + box.width > window.innerWidth ? event.clientX - 14 - box.width : event.clientX + 14;
      tip.style.left = Math.max(4, left) + "px";
      tip.style.top = Math.max(4, Math.min(event.clientY + 12, window.innerHeight - box.height - 4)) + "px";
    };
  }
  async function draw(name, make, content) {
    const place = document.getElementById("chart-" + name);
    if (!place) return;
    const own = charts[name] || (charts[name] = { turn: 0, view: null });
    const turn = ++own.turn, chart = make();
    if (!chart.layer.length) {
      if (own.view) own.view.finalize();
      own.view = null;
      place.replaceChildren(element("p", "Nothing to draw: no arm is shown that has these numbers."));
      return;
    }
    const made = await vegaEmbed(document.createElement("div"), { ...chart, width: Math.max(280, place.clientWidth) },
      { ast: true, actions: false, renderer: "svg", defaultStyle: false, tooltip: hover(content) });
    if (turn !== own.turn) return made.finalize();
    if (own.view) own.view.finalize();
    own.view = made.view;
    place.replaceChildren(made.view.container());
    made.view.addEventListener("click", (event, item) => {
      if (item && item.datum && item.datum.arm !== undefined) pick(item.datum.arm === picked ? -1 : item.datum.arm);
    });
    place.dataset.turn = turn;
  }
  const drawPareto = () => draw("pareto", pareto, (point) => told(point.arm, about(point.arm)));
  const drawCurves = () => draw("curves", curves, overCurve);
  function redraw() {
    drawKey();
    drawPareto();
    drawCurves();
    tell();
  }

  // An arm that is picked stands out in both charts, in the list and in the tables.
  function pick(arm) {
    picked = arm;
    field("arm").value = String(arm);
    Object.values(charts).forEach((own) => own.view && own.view.signal("picked", arm).runAsync());
    document.querySelectorAll("#c-key label").forEach((label) => label.classList.toggle("picked", Number(label.dataset.arm) === arm));
    rows().forEach((row) => row.classList.toggle("picked", arm >= 0 && nameOf(row) === data.arms[arm].name));
    tell();
  }
  const rows = () => Array.from(document.querySelectorAll("figure.table tbody tr"));
  function nameOf(row) {
    const name = row.querySelector("th bdi");
    return name ? name.textContent : "";
  }
  function tell() {
    const detail = field("detail");
    detail.replaceChildren();
    if (picked < 0) return;
    const box = told(picked, about(picked)), name = data.arms[picked].name;
    const row = document.querySelector("#table-main") ? rows().find((r) => nameOf(r) === name) : null;
    if (row) {
      row.id = row.id || "arm-" + (picked + 1);
      const link = element("a", "its row in the table");
      link.href = "#" + row.id;
      box.appendChild(element("p")).appendChild(link);
    }
    detail.appendChild(box);
  }

  // The list of arms: what each number, mark and dash stands for, and which arms are shown.
  function sample(place) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    made.setAttribute("width", "40");
    made.setAttribute("height", "14");
    made.setAttribute("aria-hidden", "true");
    const line = made.appendChild(document.createElementNS(made.namespaceURI, "path"));
    line.setAttribute("d", "M0 7H24");
    line.setAttribute("stroke", colour(place));
    line.setAttribute("stroke-width", "1.8");
    line.setAttribute("stroke-dasharray", DASHES[place % DASHES.length].join(" "));
    const glyph = made.appendChild(document.createElementNS(made.namespaceURI, "text"));
    glyph.setAttribute("x", "28");
    glyph.setAttribute("y", "11.5");
    glyph.setAttribute("font-size", "12");
    glyph.setAttribute("fill", colour(place));
    glyph.textContent = GLYPHS[place % GLYPHS.length];
    return made;
  }
  function drawKey() {
    const focus = document.activeElement && document.activeElement.id;
    field("key").replaceChildren(...data.arms.map((arm, i) => {
      const item = element("li"), label = element("label"), box = element("input");
      label.dataset.arm = String(i);
      label.classList.toggle("picked", i === picked);
      box.type = "checkbox";
      box.id = "c-show-" + i;
      box.checked = shown(i);
      box.addEventListener("change", () => { box.checked ? hidden.delete(i) : hidden.add(i); redraw(); });
      label.append(box, element("b", String(i + 1)), sample(group(i)), element("bdi", arm.name));
      item.appendChild(label);
      return item;
    }));
    const used = axis() < 0 ? [] : [...new Set(data.arms.map((_, arm) => group(arm)))].sort((a, b) => a - b);
    field("levels").replaceChildren(...used.map((place) => {
      const item = element("li");
      item.append(sample(place), element("bdi", data.axes[axis()].levels[place] ?? "none"));
      return item;
    }));
    if (focus && focus.startsWith("c-show-")) document.getElementById(focus).focus();
  }

  // Controls.
  function options(name, texts) {
    texts.forEach((text, i) => {
      const made = element("option", text);
      made.value = String(i);
      field(name).appendChild(made);
    });
  }
  function listen(names, act) {
    names.forEach((name) => field(name) && field(name).addEventListener("change", act));
  }
  if (field("measure")) {
    options("measure", data.measures.map((m) => m.label));
    options("cost", data.costs.map((c) => c.label));
  }
  if (field("curve")) options("curve", data.curves.map((c) => c.label));
  options("colour", data.axes.map((a) => a.name));
  options("arm", data.arms.map((arm, i) => i + 1 + "  " + arm.name));
  if (data.arms.length > COLOURS.length && data.axes.length) field("colour").value = "0";
  document.querySelectorAll("#explore form").forEach((form) => form.addEventListener("submit", (event) => event.preventDefault()));
  listen(["measure", "cost", "cost-log"], () => { drawPareto(); tell(); });
  listen(["curve", "clock", "band", "value-log"], drawCurves);
  listen(["colour"], redraw);
  listen(["arm"], () => pick(Number(field("arm").value)));
  field("all").addEventListener("click", () => { hidden.clear(); redraw(); });
  field("none").addEventListener("click", () => { data.arms.forEach((_, i) => hidden.add(i)); redraw(); });
  let width = window.innerWidth, waiting = 0;
  window.addEventListener("resize", () => {
    if (window.innerWidth === width) return;
    width = window.innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(() => { drawPareto(); drawCurves(); }, 150);
  });
  redraw();
})();
