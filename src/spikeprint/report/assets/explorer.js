"use strict";
// The explorer of spikes. Rows of every column are spikes; row i < SHOWN carries waveforms (snippet i).

const told = JSON.parse(document.getElementById("payload").textContent);
const TYPES = { int8: Int8Array, int16: Int16Array, int32: Int32Array, float32: Float32Array };
const MISSING = -32768;
const INK = "#1a1a1a", MUTED = "#6b6b6b", FAINT = "#b4b4b4", GRID = "#e8e8e8", RED = "#D55E00", BLUE = "#0072B2";
const SYMBOLS = ["star", "cross-thin", "x-thin", "square-open", "diamond-open", "triangle-up-open", "hexagon-open", "bowtie-open"];
const CLICK_PX = 4;

function decode(packed) {
  const bytes = Uint8Array.from(atob(packed.data), (c) => c.charCodeAt(0));
  const raw = new TYPES[packed.type](bytes.buffer);
  if (packed.scale === undefined) return raw;
  return Float32Array.from(raw, (v) => (v === MISSING ? NaN : v * packed.scale + packed.offset));
}

const el = (id) => document.getElementById(id);
const columns = Object.fromEntries(Object.entries(told.spikes).map(([name, packed]) => [name, decode(packed)]));
const contacts = decode(told.contacts);
const N_CONTACTS = contacts.length / 2, N = columns.x.length;
const snippets = {
  nBefore: told.snippets.n_before,
  channels: decode(told.snippets.channels),
  times: decode(told.snippets.times),
  waves: decode(told.snippets.waves),
  scale: decode(told.snippets.scale),
  estimates: Object.entries(told.snippets.estimates).map(([name, packed]) => [name, decode(packed)]),
};
const [SHOWN, , K, T] = told.snippets.waves.shape;
const inTime = Array.from(snippets.times.keys()).sort((a, b) => snippets.times[a] - snippets.times[b]);
const webgl = (() => {
  const canvas = document.createElement("canvas");
  return Boolean(canvas.getContext("webgl2") || canvas.getContext("webgl"));
})();

columns.lx = columns.x.map((v, i) => v - contacts[2 * columns.channel[i]]);
columns.ly = columns.y.map((v, i) => v - contacts[2 * columns.channel[i] + 1]);
const someKnown = (name) => columns[name] !== undefined && columns[name].some(Number.isFinite);

// What may colour a spike ------------------------------------------------------------------------------------------

function percentiles(values, low, high) {
  const known = Float32Array.from(values).filter(Number.isFinite).sort();
  const at = (share) => known[Math.round(share * (known.length - 1))] ?? 0;
  return [at(low), at(high)];
}

function steps(colours) {
  const n = colours.length;
  return colours.flatMap((c, i) => [[i / n, c], [(i + 1) / n, c]]);
}

const asScale = (name, title) => {
  const [cmin, cmax] = percentiles(columns[name], 0.01, 0.99);
  return { title, values: columns[name], cmin, cmax: Math.max(cmax, cmin + 1e-6), colorscale: "Viridis" };
};
const COLOURS = { size: asScale("size", told.size_title) };
if (someKnown("z")) COLOURS.z = asScale("z", "z (µm)");
if (columns.unit) {
  const n = told.palette.length - 1; // the last one is nearly black
  COLOURS.unit = {
    title: "unit", values: columns.unit.map((u) => (u < 0 ? -1 : u % n)), cmin: -1.5, cmax: n - 0.5,
    colorscale: steps([FAINT, ...told.palette.slice(0, n)]),
  };
}
if (someKnown("error")) COLOURS.error = asScale("error", "error in x–y (µm)");
if (someKnown("sd")) COLOURS.sd = asScale("sd", "expected error (µm)");

// Panels -------------------------------------------------------------------------------------------------------------

const reach = (values, extra, pad) => {
  const [low, high] = percentiles(values, 0.002, 0.998);
  return [Math.min(low, ...extra) - pad, Math.max(high, ...extra) + pad];
};
const contactX = Array.from({ length: N_CONTACTS }, (_, i) => contacts[2 * i]);
const contactY = Array.from({ length: N_CONTACTS }, (_, i) => contacts[2 * i + 1]);
const RANGES = {
  time: [0, told.duration_s],
  x: reach(columns.x, [Math.min(...contactX), Math.max(...contactX)], 8),
  y: reach(columns.y, [Math.min(...contactY), Math.max(...contactY)], 12),
  z: someKnown("z") ? [-4, percentiles(columns.z, 0, 0.995)[1] + 4] : [-4, 40],
  lx: reach(columns.lx, [], 4), ly: reach(columns.ly, [], 4), size: reach(columns.size, [], 0.05),
};
const TITLES = { time: "time (s)", x: "x (µm)", y: "depth y (µm)", z: "z (µm)", lx: "x − contact (µm)", ly: "y − contact (µm)", size: told.size_title };
const pairs = (names) => names.flatMap((a, i) => names.slice(i + 1).map((b) => [a, b]));
const hasZ = someKnown("z");

function globalPanels() {
  const tall = hasZ ? [0.36, 1] : [0, 1];
  const panels = [
    { h: "time", v: "y", dx: [0, 0.48], dy: [0, 1] },
    { h: "x", v: "y", dx: [0.55, hasZ ? 0.76 : 1], dy: tall, contacts: [contactX, contactY] },
  ];
  if (hasZ) {
    panels.push({ h: "z", v: "y", dx: [0.83, 1], dy: tall });
    panels.push({ h: "x", v: "z", dx: [0.55, 0.76], dy: [0, 0.24], contacts: [contactX, contactX.map(() => 0)] });
  }
  return panels;
}

function localPanels() {
  const found = pairs(hasZ ? ["lx", "ly", "z", "size"] : ["lx", "ly", "size"]);
  const rows = Math.ceil(found.length / 3);
  return found.map(([h, v], i) => {
    const column = i % 3, row = Math.floor(i / 3), height = 1 / rows;
    const top = 1 - row * height;
    return { h, v, dx: [column * 0.345, column * 0.345 + 0.29], dy: [top - height + (rows > 1 ? 0.12 : 0), top], local: true };
  });
}

const CLOUDS = { global: globalPanels(), local: localPanels() };
for (const panels of Object.values(CLOUDS)) {
  panels.forEach((panel, i) => { panel.id = i ? String(i + 1) : ""; });
}

// Plotly's default buttons hold one that uploads what is drawn: only those named here are shown
const asked = (...buttons) => ({ responsive: true, displaylogo: false, plotlyServerURL: "", modeBarButtons: [buttons] });

// State, kept in the address ---------------------------------------------------------------------------------------

const state = { spike: inTime[Math.floor(SHOWN / 2)], colour: "size", frame: "after", from: 0, window: 1000 };

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  const whole = (name, low, high) => {
    const value = Number(given.get(name));
    if (given.has(name) && Number.isInteger(value) && value >= low && value <= high) state[name] = value;
  };
  whole("spike", 0, SHOWN - 1);
  whole("from", 0, 1000);
  whole("window", 1, 1000);
  if (given.get("colour") in COLOURS) state.colour = given.get("colour");
  if (["before", "after"].includes(given.get("frame"))) state.frame = given.get("frame");
}

const writeAddress = () => history.replaceState(null, "", "#" + new URLSearchParams(state));
const timeWindow = () => {
  const first = (state.from / 1000) * told.duration_s;
  return [first, first + (state.window / 1000) * told.duration_s];
};
const column = (panel, name) => (state.frame === "after" && !panel.local && (name === "x" || name === "y") ? columns[name + "c"] : columns[name]);

// Clouds -------------------------------------------------------------------------------------------------------------

function visibleRows() {
  const [first, last] = timeWindow(), values = COLOURS[state.colour].values, rows = [];
  const n = webgl ? N : SHOWN;
  for (let i = 0; i < n; i++) if (columns.time[i] >= first && columns.time[i] <= last) rows.push(i);
  // what is large lies on top
  return Int32Array.from(rows).sort((a, b) => values[a] - values[b]);
}

function drawCloud(name, rows) {
  const colour = COLOURS[state.colour], layout = {
    margin: { l: 52, r: 8, t: 10, b: 40 }, showlegend: false, hovermode: false, dragmode: "zoom",
    font: { size: 11, color: INK }, uirevision: "kept", paper_bgcolor: "#fff", plot_bgcolor: "#fff",
    coloraxis: { cmin: colour.cmin, cmax: colour.cmax, colorscale: colour.colorscale, showscale: name === "global" && state.colour !== "unit",
      colorbar: { title: { text: colour.title, side: "right" }, thickness: 10, len: 0.6, x: 1.01 } },
  };
  const traces = CLOUDS[name].map((panel) => {
    const take = (axis) => { const all = column(panel, axis); return Float32Array.from(rows, (i) => all[i]); };
    const axis = (title, range, domain, anchor) => ({ title: { text: title, standoff: 4 }, range: range.slice(), domain, anchor, zeroline: false, gridcolor: GRID });
    layout["xaxis" + panel.id] = axis(TITLES[panel.h], RANGES[panel.h], panel.dx, "y" + panel.id);
    layout["yaxis" + panel.id] = axis(TITLES[panel.v], RANGES[panel.v], panel.dy, "x" + panel.id);
    return {
      type: webgl ? "scattergl" : "scatter", mode: "markers", x: take(panel.h), y: take(panel.v), hoverinfo: "skip",
      xaxis: "x" + panel.id, yaxis: "y" + panel.id,
      marker: { size: rows.length > 20000 ? 2.5 : 4, opacity: 0.6, color: Float32Array.from(rows, (i) => colour.values[i]), coloraxis: "coloraxis" },
    };
  });
  for (const panel of CLOUDS[name]) {
    if (!panel.contacts) continue;
    traces.push({ type: "scatter", mode: "markers", x: panel.contacts[0], y: panel.contacts[1], hoverinfo: "skip",
      xaxis: "x" + panel.id, yaxis: "y" + panel.id, marker: { symbol: "square-open", size: 6, color: MUTED } });
  }
  if (name === "global") layout.yaxis2 = { ...layout.yaxis2, matches: "y" };
  if (name === "global" && hasZ) layout.yaxis3 = { ...layout.yaxis3, matches: "y" };
  layout.shapes = rings(name);
  return Plotly.react(el(name), traces, layout, asked("zoom2d", "pan2d", "resetScale2d", "toImage"));
}

function rings(name) {
  const i = state.spike, shapes = [];
  for (const panel of CLOUDS[name]) {
    const refs = { xref: "x" + panel.id, yref: "y" + panel.id, xsizemode: "pixel", ysizemode: "pixel" };
    const at = (h, v) => ({ xanchor: h, yanchor: v });
    const h = column(panel, panel.h)[i], v = column(panel, panel.v)[i];
    if (!Number.isFinite(h) || !Number.isFinite(v)) continue;
    shapes.push({ type: "circle", ...refs, ...at(h, v), x0: -8, x1: 8, y0: -8, y1: 8, line: { color: RED, width: 2.5 } });
    const truth = (axis) => trueValue(panel, axis, i);
    if (Number.isFinite(truth(panel.h)) && Number.isFinite(truth(panel.v))) {
      shapes.push({ type: "path", path: "M-7,0L7,0M0,-7L0,7", ...refs, ...at(truth(panel.h), truth(panel.v)), line: { color: INK, width: 2 } });
    }
  }
  return shapes;
}

function trueValue(panel, axis, i) {
  if (!columns.true_x) return NaN;
  const shift = (name) => (state.frame === "after" ? columns[name + "c"][i] - columns[name][i] : 0);
  const own = columns.channel[i];
  switch (axis) {
    case "time": case "size": return columns[axis][i];
    case "x": case "y": return columns["true_" + axis][i] + shift(axis);
    case "lx": return columns.true_x[i] - contacts[2 * own];
    case "ly": return columns.true_y[i] - contacts[2 * own + 1];
    default: return columns.true_z[i];
  }
}

// One spike ----------------------------------------------------------------------------------------------------------

function neighbourhood(i) {
  const list = [];
  for (let k = 0; k < K; k++) {
    const channel = snippets.channels[i * K + k];
    if (channel >= 0) list.push({ k, channel, x: contacts[2 * channel], y: contacts[2 * channel + 1] });
  }
  return list;
}

function wavesAt(i, kind, around) {
  const pitches = around.flatMap((a) => around.map((b) => Math.abs(a.x - b.x))).filter((d) => d > 1);
  const width = 0.8 * closest(around, "x", "y", pitches.length ? Math.min(...pitches) : 30), start = ((i * 2 + kind) * K) * T;
  const tall = (1.1 * closest(around, "y", "x", 40)) / 254;
  const x = [], y = [];
  for (const { k, ...at } of around) {
    for (let t = 0; t < T; t++) {
      x.push(at.x + ((t - snippets.nBefore) / T) * width);
      y.push(at.y + snippets.waves[start + k * T + t] * tall);
    }
    x.push(null);
    y.push(null);
  }
  return { x, y };
}

// smallest distance between contacts that lie in one line along the other axis
function closest(around, along, across, otherwise) {
  let least = Infinity;
  for (const a of around) for (const b of around) {
    const away = Math.abs(a[along] - b[along]);
    if (away > 1 && Math.abs(a[across] - b[across]) < 1) least = Math.min(least, away);
  }
  return Number.isFinite(least) ? least : otherwise;
}

function placesOf(i) {
  const places = snippets.estimates.map(([name, all], n) => ({
    name, x: all[3 * i], y: all[3 * i + 1], z: all[3 * i + 2], symbol: SYMBOLS[n % SYMBOLS.length], colour: told.palette[n % told.palette.length],
  }));
  if (columns.true_x && Number.isFinite(columns.true_x[i])) {
    places.push({ name: "truth", x: columns.true_x[i], y: columns.true_y[i], z: columns.true_z[i], symbol: "cross", colour: INK });
  }
  return places;
}

function drawWaves(i, around, places) {
  const line = (kind, name, color, width) => ({ type: "scatter", mode: "lines", ...wavesAt(i, kind, around), name, line: { color, width }, hoverinfo: "skip" });
  const traces = [line(0, "raw", BLUE, 1), line(1, "denoised", RED, 1.4)];
  traces.push({ type: "scatter", mode: "markers", x: around.map((a) => a.x), y: around.map((a) => a.y), text: around.map((a) => "contact " + a.channel),
    hoverinfo: "text", showlegend: false, marker: { symbol: "square-open", size: 7, color: FAINT } });
  const truth = places.find((p) => p.name === "truth"), mine = places.find((p) => p.name === told.method);
  if (truth && mine) traces.push({ type: "scatter", mode: "lines", x: [mine.x, truth.x], y: [mine.y, truth.y], showlegend: false, hoverinfo: "skip", line: { color: INK, width: 1.5, dash: "dot" } });
  for (const p of places) {
    traces.push({ type: "scatter", mode: "markers", x: [p.x], y: [p.y], name: p.name, hoverinfo: "name",
      marker: { symbol: p.symbol, size: p.name === told.method ? 15 : 11, color: p.colour, line: { color: p.colour, width: p.symbol.endsWith("thin") ? 3 : 1 } } });
  }
  const axis = (text) => ({ title: { text, standoff: 4 }, zeroline: false, gridcolor: GRID });
  return Plotly.react(el("waves"), traces, { margin: { l: 52, r: 8, t: 6, b: 40 }, font: { size: 11, color: INK }, xaxis: axis("x (µm)"), yaxis: axis("y (µm)"),
    legend: { orientation: "v", font: { size: 10 } } }, { responsive: true, displayModeBar: false });
}

function drawSpace(i, around, places) {
  if (!webgl) { el("space").textContent = "This browser has no WebGL: no view in three dimensions."; return null; }
  const waves = wavesAt(i, 1, around), flat = (values) => values.map((v) => (v === null ? null : 0));
  const traces = [
    { type: "scatter3d", mode: "lines", ...waves, z: flat(waves.x), line: { color: RED, width: 2 }, hoverinfo: "skip" },
    { type: "scatter3d", mode: "markers", x: around.map((a) => a.x), y: around.map((a) => a.y), z: around.map(() => 0), hoverinfo: "skip", marker: { symbol: "square", size: 3, color: MUTED } },
  ];
  for (const p of places) {
    const known = Number.isFinite(p.z);
    traces.push({ type: "scatter3d", mode: known ? "lines+markers" : "markers", x: known ? [p.x, p.x] : [p.x], y: known ? [p.y, p.y] : [p.y], z: known ? [p.z, 0] : [0],
      name: p.name, hoverinfo: "name", line: { color: p.colour, width: 3 }, marker: { size: known ? [6, 0] : [4], color: p.colour } });
  }
  const axis = (text) => ({ title: { text }, backgroundcolor: "#fff", gridcolor: GRID });
  return Plotly.react(el("space"), traces, { margin: { l: 0, r: 0, t: 0, b: 0 }, showlegend: false, font: { size: 10 }, uirevision: "kept",
    scene: { xaxis: axis("x"), yaxis: axis("y"), zaxis: axis("z"), aspectmode: "data", camera: { eye: { x: 1.7, y: -1.5, z: 1.3 } } } }, asked("orbitRotation", "zoom3d", "pan3d", "resetCameraDefault3d", "toImage"));
}

function drawMotion(i) {
  const traces = told.motions.flatMap((motion) => {
    const [displacement, times, depths] = ["displacement", "times", "depths"].map((name) => decode(motion[name]));
    return Array.from(depths, (depth, d) => ({ type: "scatter", mode: "lines", x: times, y: times.map((_, t) => displacement[t * depths.length + d]),
      name: `${"xyz"[motion.axis]} at ${Math.round(depth)} µm`, hoverinfo: "name", line: { color: told.palette[d % told.palette.length], width: 1.5, dash: motion.axis === 1 ? "solid" : "dot" } }));
  });
  const now = { type: "line", xref: "x", yref: "paper", x0: snippets.times[i], x1: snippets.times[i], y0: 0, y1: 1, line: { color: RED, width: 1.5 } };
  return Plotly.react(el("motion"), traces, { margin: { l: 52, r: 8, t: 6, b: 36 }, showlegend: false, font: { size: 11 }, shapes: [now],
    xaxis: { title: { text: "time (s)", standoff: 4 }, range: [0, told.duration_s] }, yaxis: { title: { text: "motion (µm)", standoff: 4 } } }, { responsive: true, displayModeBar: false });
}

const digits = (value, n = 1) => (Number.isFinite(value) ? value.toFixed(n) : "–");

function tell(i, places) {
  const own = columns.channel[i], unit = columns.unit ? `, unit ${columns.unit[i] < 0 ? "–" : columns.unit[i]}` : "";
  el("text").textContent = `spike ${i} of ${SHOWN}, ${digits(snippets.times[i], 3)} s, contact ${own} at (${digits(contacts[2 * own], 0)}, ${digits(contacts[2 * own + 1], 0)}) µm` +
    `${unit}, offset (${digits(columns.lx[i])}, ${digits(columns.ly[i])}, ${digits(columns.z[i])}) µm, ${told.size_title} ${digits(columns.size[i], 2)}`;
  const truth = places.find((p) => p.name === "truth");
  const table = el("places");
  table.replaceChildren();
  const addRow = (cells, tag) => {
    const row = table.insertRow();
    for (const cell of cells) { const item = document.createElement(tag); item.textContent = cell; row.append(item); }
  };
  addRow(["place (µm)", "x", "y", "z", ...(truth ? ["error in x–y"] : [])], "th");
  for (const p of places) {
    addRow([p.name, digits(p.x), digits(p.y), digits(p.z), ...(truth ? [p === truth ? "" : digits(Math.hypot(p.x - truth.x, p.y - truth.y))] : [])], "td");
  }
}

async function select(i) {
  state.spike = i;
  writeAddress();
  const around = neighbourhood(i), places = placesOf(i);
  tell(i, places);
  document.body.dataset.spike = String(i);
  await Promise.all([...Object.keys(CLOUDS).map((name) => Plotly.relayout(el(name), { shapes: rings(name) })),
    drawWaves(i, around, places), drawSpace(i, around, places), drawMotion(i)]);
}

// What people do ------------------------------------------------------------------------------------------------------

function nearest(name, px, py) {
  const layout = el(name)._fullLayout, [first, last] = timeWindow();
  for (const panel of CLOUDS[name]) {
    const ax = layout["xaxis" + panel.id], ay = layout["yaxis" + panel.id];
    const x = px - ax._offset, y = py - ay._offset;
    if (x < 0 || y < 0 || x > ax._length || y > ay._length) continue;
    const h = column(panel, panel.h), v = column(panel, panel.v);
    let best = -1, least = Infinity;
    for (let i = 0; i < SHOWN; i++) {
      if (columns.time[i] < first || columns.time[i] > last) continue;
      const away = (ax.d2p(h[i]) - x) ** 2 + (ay.d2p(v[i]) - y) ** 2;
      if (away < least) { least = away; best = i; }
    }
    return best;
  }
  return -1;
}

function listenToClicks(name) {
  const graph = el(name);
  let pressed = null;
  graph.addEventListener("pointerdown", (event) => { pressed = event.button === 0 ? [event.clientX, event.clientY] : null; }, true);
  // Plotly covers the page while a button is down, so the release is heard by the window
  window.addEventListener("pointerup", (event) => {
    if (!pressed) return;
    const moved = Math.hypot(event.clientX - pressed[0], event.clientY - pressed[1]);
    pressed = null;
    if (moved > CLICK_PX) return;
    const box = graph.getBoundingClientRect(), i = nearest(name, event.clientX - box.left, event.clientY - box.top);
    if (i >= 0) select(i);
  }, true);
}

function step(by) {
  const [first, last] = timeWindow();
  const inside = inTime.filter((i) => columns.time[i] >= first && columns.time[i] <= last);
  if (!inside.length) return;
  const at = inside.indexOf(state.spike);
  select(inside[at < 0 ? 0 : (at + by + inside.length) % inside.length]);
}

function listen() {
  Object.keys(CLOUDS).forEach(listenToClicks);
  for (const name of ["colour", "frame"]) el(name).addEventListener("change", () => { state[name] = el(name).value; draw(); });
  for (const name of ["from", "window"]) el(name).addEventListener("input", () => { state[name] = Number(el(name).value); soon(); });
  const toggleHint = () => { el("hint").hidden = !el("hint").hidden; el("help").setAttribute("aria-expanded", String(!el("hint").hidden)); };
  el("help").addEventListener("click", toggleHint);
  const names = Object.keys(COLOURS);
  const keys = {
    ArrowRight: () => step(1), ArrowLeft: () => step(-1), h: toggleHint,
    c: () => { state.colour = names[(names.indexOf(state.colour) + 1) % names.length]; draw(); },
    m: () => { state.frame = state.frame === "after" ? "before" : "after"; draw(); },
  };
  document.addEventListener("keydown", (event) => {
    if (["INPUT", "SELECT"].includes(event.target.tagName) || event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  window.addEventListener("hashchange", () => { readAddress(); draw().then(() => select(state.spike)); });
}

let waiting = 0;
function soon() {
  cancelAnimationFrame(waiting);
  waiting = requestAnimationFrame(draw);
}

async function draw() {
  for (const name of ["colour", "frame", "from", "window"]) el(name).value = String(state[name]);
  const [first, last] = timeWindow(), rows = visibleRows();
  el("span").textContent = `${digits(first)} to ${digits(Math.min(last, told.duration_s))} s, ${rows.length.toLocaleString("en")} drawn`;
  writeAddress();
  await Promise.all(Object.keys(CLOUDS).map((name) => drawCloud(name, rows)));
}

async function start() {
  const about = Object.entries(told.about).map(([name, value]) => `${name} ${digits(value, 2)}`);
  el("about").textContent = [`${told.method}`, `${told.n_spikes.toLocaleString("en")} spikes`, ...about, ...(webgl ? [] : ["no WebGL: only spikes with waveforms are drawn"])].join(" · ");
  for (const [name, colour] of Object.entries(COLOURS)) el("colour").append(new Option(colour.title, name));
  readAddress();
  await draw();
  await select(state.spike);
  listen();
  document.body.dataset.ready = "yes";
}

start();
