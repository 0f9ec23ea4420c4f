"use strict";
// Plays a document of lsmkv.lab.playback: decodes the frames once (each names only what it changed), then draws one at a time.
// A run is one element as long as it is the same run, so that moving, growing and vanishing can be seen.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const LANE = 30, STEP = 64, LEFT = 88, GAP = 2, COLOURS = 7;

  const frames = decode(data.frames);
  const most = frames.map((f) => f.levels.map((runs) => runs.reduce((sum, r) => sum + r.bytes, 0)));
  const widest = Math.max(1, ...most.map((levels) => Math.max(0, ...levels)));
  const depth = Math.max(1, ...frames.map((f) => f.levels.length));
  const bars = new Map(); // run id -> element
  let at = 0, timer = null, zoomed = false;

  function decode(packed) {
    const known = new Map(); // run id -> run, as last told
    let levels = [];
    let policy = data.policy;
    return packed.map(([step, at_s, writes, kind, what, reason, m, changed, inputs, output, bytes, described]) => {
      levels = levels.slice();
      for (const [number, runs] of Object.entries(changed)) {
        levels[number] = runs.map((run) => {
          if (!Array.isArray(run)) return known.get(run);
          const [id, size, entries, tables] = run;
          const told = { id, bytes: size, entries, tables };
          known.set(id, told);
          return told;
        });
      }
      for (let i = 0; i < levels.length; i++) levels[i] = levels[i] || [];
      while (levels.length > 1 && !levels[levels.length - 1].length) levels.pop();
      policy = described || policy;
      return { step, at_s, writes, kind, what, reason, policy, levels, inputs, output,
        measures: { write: m[0], space: m[1], runs: m[2], blocks: m[3] },
        read: bytes[0], written: bytes[1], debt: bytes[2], buffer: bytes[3] };
    });
  }

  // --- words -----------------------------------------------------------------------------------------------------------
  const grouped = (n) => n.toLocaleString("en-US");
  function size(n) {
    for (const unit of ["B", "KiB", "MiB", "GiB"]) {
      if (n < 1024) return (unit === "B" ? n.toFixed(0) : n.toFixed(1)) + " " + unit;
      n /= 1024;
    }
    return n.toFixed(1) + " TiB";
  }
  function short(n) {
    for (const unit of ["", "k", "M"]) {
      if (n < 1000) return (n < 10 && unit ? n.toFixed(1).replace(/\.0$/, "") : Math.round(n)) + unit;
      n /= 1000;
    }
    return n.toFixed(1) + "G";
  }
  const several = (n, noun) => grouped(n) + " " + noun + (n === 1 ? "" : "s");
  const sum = (runs, field) => runs.reduce((total, run) => total + run[field], 0);
  const proper = (name) => name === "fifo" ? "FIFO" : name.includes(":") ? name : name.charAt(0).toUpperCase() + name.slice(1).replace(/_/g, " ");
  const policyTitle = (p) => proper(p.name) + Object.entries(p)
    .filter(([name, value]) => name !== "name" && value !== null)
    .map(([name, value]) => ", " + name.replace(/_/g, " ") + " " + (Array.isArray(value) ? value.join("/") : typeof value === "number" ? grouped(value) : value)).join("");

  function capacity(frame, level) { // entries the policy's geometry gives a level, where it has one
    const T = frame.policy.size_ratio;
    return level && T && frame.buffer ? (T - 1) * T ** (level - 1) * frame.buffer : null;
  }

  // --- the tree --------------------------------------------------------------------------------------------------------
  const stage = $("stage");
  const lanes = [];
  stage.style.height = depth * STEP - 8 + "px";
  for (let level = 0; level < depth; level++) {
    const lane = add(stage, "lane"), name = add(stage, "name"), fact = add(stage, "fact"), full = add(stage, "full");
    const top = level * STEP;
    fact.style.top = top + "px";
    lane.style.top = top + 20 + "px";
    lane.style.height = LANE + "px";
    name.style.top = top + 20 + (LANE - 22) / 2 + "px";
    name.textContent = "Level " + level;
    name.style.setProperty("--dot", colour(level));
    full.style.top = top + 17 + "px";
    full.style.height = LANE + 6 + "px";
    full.title = "what this level may hold";
    lanes.push({ fact, full });
  }

  function add(parent, kind) {
    const element = document.createElement("div");
    element.className = kind;
    return parent.appendChild(element);
  }
  function colour(level) { return "var(--l" + Math.min(level, COLOURS - 1) + ")"; }

  function places(frame) { // run id -> {x, width, level, run}
    const room = Math.max(100, stage.clientWidth - LEFT);
    const result = new Map();
    frame.levels.forEach((runs, level) => {
      const total = zoomed ? Math.max(1, sum(runs, "bytes")) : widest;
      const usable = room - GAP * Math.max(0, runs.length - 1);
      let x = LEFT;
      for (const run of runs) {
        const width = Math.max(2, (run.bytes / total) * Math.max(usable, room / 2));
        result.set(run.id, { x, width, level, run });
        x += width + GAP;
      }
    });
    return result;
  }

  function draw(frame, inputs, output) {
    const where = places(frame);
    const goal = output && where.get(output[1]);
    for (const [id, element] of bars) {
      if (where.has(id)) continue;
      bars.delete(id); // merged away: it slides into what it became
      if (goal) element.style.transform = shift(goal.x, goal.level);
      element.style.opacity = 0;
      setTimeout(() => element.remove(), moving() ? 320 : 0);
    }
    for (const [id, { x, width, level, run }] of where) {
      let element = bars.get(id);
      if (!element) {
        element = add(stage, "run");
        element.style.top = "20px";
        element.style.height = element.style.lineHeight = LANE + "px";
        element.style.opacity = 0;
        element.style.transform = shift(x, level);
        element.style.width = width + "px";
        void element.offsetWidth; // begin the transition from here
        bars.set(id, element);
      }
      element.style.opacity = 1;
      element.style.transform = shift(x, level);
      element.style.width = width + "px";
      element.style.backgroundColor = colour(level);
      element.textContent = width > 46 ? short(run.entries) : "";
      element.title = several(run.entries, "entry").replace("entrys", "entries") + ", " + size(run.bytes) + ", " + several(run.tables, "table");
      element.classList.toggle("in", inputs.has(id));
      element.classList.toggle("part", inputs.has(id) && inputs.get(id) < 1);
      element.classList.toggle("out", Boolean(output) && output[1] === id);
    }
    facts(frame);
  }
  function shift(x, level) { return "translate(" + x.toFixed(1) + "px," + level * STEP + "px)"; }
  function moving() { return !stage.classList.contains("still") && !matchMedia("(prefers-reduced-motion: reduce)").matches; }

  function facts(frame) {
    const room = Math.max(100, stage.clientWidth - LEFT);
    lanes.forEach(({ fact, full }, level) => {
      const runs = frame.levels[level] || [];
      const entries = sum(runs, "entries"), total = sum(runs, "bytes"), holds = capacity(frame, level);
      const tables = sum(runs, "tables");
      fact.textContent = runs.length
        ? several(runs.length, "run") + (tables > runs.length ? " of " + several(tables, "table") : "") + " · " + grouped(entries) + " entries · " + size(total)
          + (holds ? " · " + Math.round((100 * entries) / holds) + " % full" : "")
        : "empty";
      const share = holds && entries ? ((holds / entries) * total) / (zoomed ? total : widest) : 2;
      full.style.display = share <= 1 ? "" : "none";
      full.style.left = LEFT + share * room - 1 + "px";
    });
    stage.setAttribute("aria-label", frame.levels.map((runs, level) => "level " + level + ": " + several(runs.length, "run") + ", " + grouped(sum(runs, "entries")) + " entries").join("; "));
  }

  // --- numbers with their history --------------------------------------------------------------------------------------
  const MEASURES = [
    ["write", "Write amplification", "bytes written to tables per byte flushed"],
    ["space", "Space amplification", "entries in the tree per live key"],
    ["runs", "Runs", "sorted runs a lookup may have to ask"],
    ["blocks", "Absent key, blocks read", "predicted, filter memory shared ideally"],
  ].filter(([key]) => frames.some((f) => f.measures[key] !== null));
  const shown = MEASURES.map(([key, label, hint]) => {
    const box = add($("measures"), "measure");
    box.title = hint;
    const values = frames.map((f) => f.measures[key]);
    const high = Math.max(...values.filter((v) => v !== null), 1e-9);
    const low = Math.min(...values.filter((v) => v !== null), key === "write" || key === "space" ? 1 : 0);
    const y = (v) => 32 - 30 * ((v - low) / Math.max(high - low, 1e-9));
    const points = thin(values).map(([i, v]) => (100 * i / Math.max(1, values.length - 1)).toFixed(2) + " " + y(v === null ? low : v).toFixed(2));
    const line = "M" + points.join("L");
    box.innerHTML = "<h2></h2><strong></strong><svg viewBox='0 0 100 34' preserveAspectRatio='none' aria-hidden='true'>"
      + "<path class='past' d='" + line + "L100 34L0 34Z'/><path d='" + line + "'/><line y1='0' y2='34' x1='0' x2='0'/></svg>";
    box.querySelector("h2").textContent = label;
    return { key, value: box.querySelector("strong"), cursor: box.querySelector("line") };
  });
  function thin(values) { // at most 500 points, the highest of each group
    const every = Math.ceil(values.length / 500), points = [];
    for (let i = 0; i < values.length; i += every) points.push([i, Math.max(...values.slice(i, i + every).map((v) => v ?? -Infinity))]);
    return points.map(([i, v]) => [i, v === -Infinity ? null : v]);
  }
  function number(key, v) { return v === null ? "–" : key === "runs" ? grouped(v) : v < 0.1 ? v.toPrecision(2) : v < 10 ? v.toFixed(2) : v.toFixed(1); }

  // --- the tree over time, above the slider -----------------------------------------------------------------------------
  (function history() {
    const columns = Math.min(frames.length, 600);
    const pick = Array.from({ length: columns }, (_, i) => Math.round((i * (frames.length - 1)) / Math.max(1, columns - 1)));
    const tallest = Math.max(1, ...most.map((levels) => levels.reduce((a, b) => a + b, 0)));
    let floor = pick.map(() => 0), svg = "";
    for (let level = depth - 1; level >= 0; level--) { // the last level at the bottom
      const roof = pick.map((i, c) => floor[c] + (most[i][level] || 0));
      const x = (c) => ((100 * c) / Math.max(1, columns - 1)).toFixed(2);
      const y = (v) => (60 - (60 * v) / tallest).toFixed(2);
      const up = roof.map((v, c) => x(c) + " " + y(v)), down = floor.map((v, c) => x(c) + " " + y(v)).reverse();
      svg += "<path style='fill:" + colour(level) + ";opacity:.75' d='M" + up.concat(down).join("L") + "Z'/>";
      floor = roof;
    }
    frames.forEach((f, i) => { // switches of policy
      const x = (100 * i) / Math.max(1, frames.length - 1);
      if (f.kind === "switch") svg += "<line class='switch' x1='" + x + "' x2='" + x + "' y1='0' y2='60'/>";
    });
    $("history").innerHTML = "<svg viewBox='0 0 100 60' preserveAspectRatio='none'>" + svg
      + "<rect id='later' y='0' height='60' style='fill:var(--card);opacity:.68'/></svg>";
  })();

  // --- one frame -------------------------------------------------------------------------------------------------------
  function show(index, { quick = false, before = false } = {}) {
    at = Math.max(0, Math.min(frames.length - 1, index));
    const frame = frames[at];
    stage.classList.toggle("still", quick);
    const tree = before ? frames[at - 1] : frame; // before a task is done, what it will take is marked
    const inputs = new Map(before ? frame.inputs : []); // run id -> share of its tables that is taken
    draw(tree, inputs, before ? null : frame.output);
    const badge = $("badge");
    badge.textContent = frame.what;
    badge.className = frame.kind;
    $("reason").textContent = frame.reason;
    $("cost").textContent = frame.read ? "read " + size(frame.read) + ", wrote " + size(frame.written) + (frame.debt ? ", debt " + size(frame.debt) : "")
      : frame.written ? "wrote " + size(frame.written) : "";
    $("title").textContent = data.live ? data.title : policyTitle(frame.policy);
    $("note").textContent = (data.live ? policyTitle(frame.policy) + " · " : "") + data.note;
    const when = data.live ? new Date(frame.at_s * 1000).toISOString().replace("T", " ").slice(0, 19) + " UTC" : grouped(frame.writes) + " writes";
    $("where").textContent = "step " + grouped(frame.step) + " of " + grouped(data.steps) + " · " + when;
    $("slider").value = at;
    $("slider").setAttribute("aria-valuetext", "step " + frame.step + ": " + frame.what);
    for (const { key, value, cursor } of shown) {
      value.textContent = number(key, tree.measures[key]);
      const x = (100 * at) / Math.max(1, frames.length - 1);
      cursor.setAttribute("x1", x);
      cursor.setAttribute("x2", x);
    }
    const done = (100 * at) / Math.max(1, frames.length - 1);
    $("later").setAttribute("x", done);
    $("later").setAttribute("width", 100 - done);
    if (timer === null && !before) $("said").textContent = frame.what + ": " + frame.reason;
  }

  // --- playing ---------------------------------------------------------------------------------------------------------
  const IDLE = new Set(["flush", "load", "slowdown", "options", "stall", "close"]); // nothing is compacted
  const speed = () => Number($("speed").value);
  function following(index, direction) {
    let next = index + direction;
    while ($("tasks").checked && frames[next] && IDLE.has(frames[next].kind)) next += direction;
    return frames[next] ? next : index;
  }
  function tick() {
    const next = following(at, 1);
    if (next === at) return stop();
    const wait = 1000 / speed();
    if (speed() <= 2 && next === at + 1 && frames[next].inputs.length) { // first what goes in, then what comes out
      show(next, { before: true });
      timer = setTimeout(() => { show(next); timer = setTimeout(tick, wait * 0.6); }, wait * 0.4);
    } else {
      show(next, { quick: speed() > 5 });
      timer = setTimeout(tick, wait);
    }
  }
  function play() {
    if (at === frames.length - 1) show(0, { quick: true });
    $("play").innerHTML = "<span class='wait'></span>";
    $("play").setAttribute("aria-label", "Pause");
    timer = setTimeout(tick, 150);
  }
  function stop() {
    clearTimeout(timer);
    timer = null;
    $("play").innerHTML = "<span class='go'></span>";
    $("play").setAttribute("aria-label", "Play");
  }
  function go(index, options) { stop(); show(index, options); }
  const toggle = () => (timer === null ? play() : stop());
  function zoom() { zoomed = !zoomed; $("scale").setAttribute("aria-pressed", zoomed); legend(); show(at); }
  function dark() {
    const root = document.documentElement;
    const now = root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    root.dataset.theme = now === "dark" ? "light" : "dark";
    $("theme").textContent = root.dataset.theme === "dark" ? "Light" : "Dark";
  }
  function faster(by) { const s = $("speed"); s.selectedIndex = Math.max(0, Math.min(s.options.length - 1, s.selectedIndex + by)); }
  function legend() {
    $("legend").textContent = (zoomed ? "Each level as wide as it can be: bars compare within a level only. " : "Bar length = bytes, one scale for all levels. ")
      + "Newest run on the left; numbers in bars are entries"
      + (frames.some((f) => f.levels.some((_, level) => capacity(f, level))) ? "; a dashed line is what a level may hold." : ".")
      + (frames.length < data.steps ? " Thinned out to keep this page small: " + grouped(frames.length) + " of " + grouped(data.steps) + " steps are shown." : "");
  }

  $("slider").max = frames.length - 1;
  $("slider").addEventListener("input", (e) => go(Number(e.target.value), { quick: true }));
  $("first").onclick = () => go(0);
  $("back").onclick = () => go(following(at, -1));
  $("play").onclick = toggle;
  $("next").onclick = () => go(following(at, 1));
  $("last").onclick = () => go(frames.length - 1);
  $("scale").onclick = zoom;
  $("theme").onclick = dark;
  const KEYS = { " ": toggle, ArrowLeft: () => go(following(at, -1)), ArrowRight: () => go(following(at, 1)), Home: () => go(0),
    End: () => go(frames.length - 1), "+": () => faster(1), "=": () => faster(1), "-": () => faster(-1), z: zoom, d: dark,
    t: () => { $("tasks").checked = !$("tasks").checked; } };
  addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const act = KEYS[e.key.length === 1 ? e.key.toLowerCase() : e.key];
    if (!act || e.target.tagName === "SELECT" || (e.key === " " && e.target.tagName === "BUTTON")) return;
    e.preventDefault();
    act();
  });
  addEventListener("resize", () => show(at, { quick: true }));
  if (matchMedia("(prefers-color-scheme: dark)").matches) $("theme").textContent = "Light";
  legend();
  const wanted = /^#step=(\d+)$/.exec(location.hash); // link to a step
  show(wanted ? Math.max(0, frames.findIndex((f) => f.step >= Number(wanted[1]))) : 0, { quick: true });
})();
