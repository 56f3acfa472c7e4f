// What the server said in the last two minutes, and what follows from it.
const history = [];
const last = () => history[history.length - 1];
function per_second(of) {
  if (history.length < 2) return null;
  const [before, now] = history.slice(-2);
  const seconds = now.status.uptime_seconds - before.status.uptime_seconds;
  return seconds > 0 ? Math.max(0, of(now.status) - of(before.status)) / seconds : null;
}
function rates(of) {
  const found = [];
  for (let n = 1; n < history.length; n += 1) {
    const [before, now] = [history[n - 1].status, history[n].status];
    const seconds = now.uptime_seconds - before.uptime_seconds;
    found.push(seconds > 0 ? Math.max(0, of(now) - of(before)) / seconds : 0);
  }
  return found;
}
// The bound below which a part of what happened during the last minute stayed.
function quantile(of, part) {
  const now = of(last().status);
  const before = of(history[Math.max(0, history.length - 61)].status);
  if (!now || !before) return null;
  const counts = now.counts.map((n, bound) => n - (history.length > 1 ? before.counts[bound] : 0));
  const all = counts.reduce((sum, n) => sum + n, 0);
  if (all === 0) return null;
  let sum = 0;
  for (let bound = 0; bound < counts.length; bound += 1) {
    sum += counts[bound];
    if (sum >= all * part) return bound < now.bounds_seconds.length ? now.bounds_seconds[bound] : Infinity;
  }
  return null;
}
const within = (s) => (s === null ? "–" : s === Infinity ? "> 10 s" : "≤ " + time(s));

function line(values) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 120 30");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  if (values.length > 1) {
    const top = Math.max(...values, 1e-9);
    const points = values.map((value, n) => (120 - values.length + 1 + n).toFixed(1) + "," + (28 - (value / top) * 26).toFixed(1));
    for (const [kind, d] of [
      ["area", "M" + points.join("L") + "L120,30L" + (120 - values.length + 1) + ",30Z"],
      ["line", "M" + points.join("L")],
    ]) {
      const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
      path.setAttribute("class", kind);
      path.setAttribute("d", d);
      svg.append(path);
    }
  }
  return svg;
}

const TILES = [
  ["accepted", "Messages in", () => rate(per_second((s) => s.messages.accepted)), (s) => count(s.messages.accepted) + " since the start", () => rates((s) => s.messages.accepted)],
  ["delivered", "Messages out", () => rate(per_second((s) => s.messages.delivered)), (s) => count(s.messages.redelivered) + " sent again", () => rates((s) => s.messages.delivered)],
  ["received", "Bytes in", () => (per_second((s) => s.bytes.received) === null ? "–" : bytes(per_second((s) => s.bytes.received)) + "/s"), (s) => bytes(s.bytes.received) + " since the start", () => rates((s) => s.bytes.received)],
  ["sent", "Bytes out", () => (per_second((s) => s.bytes.sent) === null ? "–" : bytes(per_second((s) => s.bytes.sent)) + "/s"), (s) => bytes(s.bytes.unsent) + " wait to be sent", () => rates((s) => s.bytes.sent)],
  ["pending", "Pending", (s) => count(s.pending.messages), (s) => (s.pending.oldest_seconds === null ? "nothing waits for an acknowledgement" : "oldest " + time(s.pending.oldest_seconds) + ", " + bytes(s.pending.bytes)), () => history.map((it) => it.status.pending.messages)],
  ["dead", "Dead letters", (s) => count(s.dead_letters.count), (s) => count(s.dead_letters.made) + " made since the start", () => history.map((it) => it.status.dead_letters.count)],
  ["connections-now", "Connections", (s) => count(s.connections.open), (s) => many(s.connections.subscriptions, "subscription", "subscriptions"), () => history.map((it) => it.status.connections.open)],
  ["held", "Publishers held back", (s) => count(s.connections.held_publishers), (s) => time(s.connections.publisher_held_seconds) + " in all", () => rates((s) => s.connections.publisher_held_seconds)],
  ["turn", "Turn time, p99", () => within(quantile((s) => s.turns, 0.99)), () => "p50 " + within(quantile((s) => s.turns, 0.5)) + ", last minute", () => rates((s) => s.turns.sum_seconds)],
  ["sync", "Journal sync time, p99", (s) => (s.journal ? within(quantile((t) => t.journal && t.journal.syncs, 0.99)) : "no journal"), (s) => (s.journal ? rate(per_second((t) => total(t.journal.syncs))) + " syncs" : "messages do not outlive the server"), () => rates((s) => (s.journal ? total(s.journal.syncs) : 0))],
  ["cpu", "Processor", () => { const used = per_second((s) => s.process.cpu_seconds); return used === null ? "–" : Math.round(used * 100) + " %"; }, () => "of one core", () => rates((s) => s.process.cpu_seconds)],
  ["memory", "Memory", (s) => bytes(s.process.resident_bytes), (s) => count(s.process.open_fds) + " of " + (s.process.max_fds > 1e15 ? "∞" : count(s.process.max_fds)) + " descriptors", () => history.map((it) => it.status.process.resident_bytes)],
];
function total(times) { return times.counts.reduce((sum, n) => sum + n, 0); }

function show_tiles(status) {
  const tiles = at("tiles");
  for (const [id, title, value, note, values] of TILES) {
    let tile = at("tile-" + id);
    if (!tile) {
      tile = make("div", null, { id: "tile-" + id });
      tile.append(make("dt", title), make("dd", "", { class: "value" }), make("dd", "", { class: "note" }), make("dd"));
      tiles.append(tile);
    }
    const [, shown, told, chart] = tile.children;
    shown.textContent = value(status);
    told.textContent = note(status);
    chart.replaceChildren(line(values()));
  }
}
