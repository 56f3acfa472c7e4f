// All text comes into the page by textContent: names and reasons are whatever a client says.
const KEPT = 121, ASK_AGAIN_MS = 5000, SILENT_S = 4, PAGE = 50;
const at = (id) => document.getElementById(id);
const make = (tag, text, attributes = {}) => {
  const element = document.createElement(tag);
  if (text !== undefined && text !== null) element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
};

let token = "";
const headers = () => (token ? { Authorization: "Bearer " + token } : {});
const say = (text) => {
  at("said").textContent = text;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { at("said").textContent = ""; }, 8000);
};

async function get(path) {
  const answer = await fetch("/api/v1/" + path, { headers: headers(), cache: "no-store" });
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error || answer.statusText);
  return found;
}
async function change(path, body) {
  const answer = await fetch("/api/v1/" + path, {
    method: "POST",
    headers: { ...headers(), "Content-Type": "application/json", "X-Mezzenger": "1" },
    body: JSON.stringify(body),
  });
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error || answer.statusText);
  return found;
}
function confirmed(question, yes) {
  const dialog = at("confirm");
  at("confirm-text").textContent = question;
  at("confirm-yes").textContent = yes;
  return new Promise((resolve) => {
    const end = (answer) => () => { dialog.onclose = null; dialog.close(); resolve(answer); };
    at("confirm-yes").onclick = end(true);
    at("confirm-no").onclick = end(false);
    dialog.onclose = end(false);
    dialog.showModal();
    at("confirm-no").focus();
  });
}

// --- What needs attention ---
let attention = [];
function show_attention(found) {
  const list = at("attention");
  const key = JSON.stringify(found);
  if (list.dataset.shown === key) return;
  list.dataset.shown = key;
  list.replaceChildren(...found.map(([level, text]) => make("li", text, { "data-level": level })));
}
function judge({ status, slow, groups }) {
  const found = [];
  const add = (level, text) => found.push([level, text]);
  if (status.journal && status.journal.failure) add("error", "Error: messages with ack=1 are rejected: " + status.journal.failure + ".");
  if (status.draining) add("warning", "Warning: the server is draining, and rejects messages.");
  for (const [what, used, max, flag] of [
    ["pending messages", status.pending.messages, status.pending.messages_max, "--max-pending-messages"],
    ["pending bytes", status.pending.bytes, status.pending.bytes_max, "--max-pending-bytes"],
    ["open descriptors", status.process.open_fds, status.process.max_fds, "ulimit -n"],
  ]) {
    const part = max > 0 ? used / max : 0;
    if (part >= 0.8) add(part >= 0.95 ? "error" : "warning", (part >= 0.95 ? "Error: " : "Warning: ") + Math.floor(part * 100) + " % of the " + what + " that are allowed are in use (" + count(used) + " of " + count(max) + "; " + flag + ").");
  }
  if (slow.length > 0) {
    const first = slow[0];
    add("warning", "Warning: " + (slow.length === 1 ? "a subscriber does" : slow.length + " subscribers do") + " not keep up. " + who(first) + " has been slow for " + time(first.slow_seconds ?? first.without_credit_seconds ?? 0) + "; " + many(status.connections.held_publishers, "publisher is", "publishers are") + " held back.");
  }
  const first = history[0];
  const grown = (of) => of(status) - of(first.status);
  for (const group of groups.filter((it) => it.durable && it.members === 0 && it.waiting > 0)) {
    add("warning", "Warning: the group " + group.name + " has no members, and " + many(group.waiting, "message waits", "messages wait") + " for one.");
  }
  const redelivered = (s) => s.messages.redelivered;
  // Once is a member that is gone; a message that always fails is redelivered at every attempt.
  if (rates(redelivered).filter((it) => it > 0).length >= 3) {
    const before = new Map(first.groups.map((it) => [it.name, it.redelivered]));
    const where = groups.filter((it) => it.redelivered > (before.get(it.name) ?? 0)).map((it) => it.name);
    add("warning", "Warning: messages are redelivered again and again, " + many(grown(redelivered), "time", "times") + " in the last two minutes" + (where.length > 0 ? ", in " + where.join(", ") : "") + ". Nobody acknowledges them in time.");
  }
  const lost = grown((s) => s.messages.dropped);
  if (lost > 0) add("warning", "Warning: subscriptions without credit lost " + many(lost, "message", "messages") + " in the last two minutes.");
  const refused = grown((s) => s.requests.rejected);
  if (refused > 0) {
    const before = first.status.requests.rejected_by_reason;
    const why = Object.entries(status.requests.rejected_by_reason).filter(([reason, n]) => n > (before[reason] || 0)).map(([reason]) => reason.replaceAll("_", " "));
    add("warning", "Warning: " + many(refused, "request was", "requests were") + " rejected in the last two minutes: " + why.join(", ") + ".");
  }
  if (status.dead_letters.deferred > 0 && per_second((s) => s.dead_letters.deferred) > 0) add("error", "Error: there is no room for more dead letters. Replay or purge some.");
  else if (status.dead_letters.count > 0) add("notice", many(status.dead_letters.count, "dead letter waits", "dead letters wait") + " to be replayed or purged.");
  if (found.length === 0) add("good", "Nothing: no limit is near, no subscriber is slow, and the groups below have members for what waits.");
  return found;
}

// --- Tables: a column is a title, a text, what it is sorted by, and its classes ---
const sorting = {};
function table(id, caption, columns, rows, empty, actions) {
  const room = at(id);
  if (rows.length === 0) {
    if (room.dataset.empty !== empty) room.replaceChildren(make("p", empty));
    room.dataset.empty = empty;
    return;
  }
  delete room.dataset.empty;
  const by = sorting[id] || (sorting[id] = { column: -1, down: true });
  let found = room.querySelector("table");
  if (!found) {
    found = make("table");
    const head = make("tr");
    columns.forEach(([title, , , kind], n) => {
      const cell = make("th", null, { scope: "col", class: kind });
      const button = make("button", title, { type: "button" });
      button.addEventListener("click", () => {
        Object.assign(by, by.column === n ? { down: !by.down } : { column: n, down: true });
        room.update();
      });
      cell.append(button);
      head.append(cell);
    });
    if (actions) head.append(make("th", "Actions", { scope: "col" }));
    found.append(make("caption"), make("thead"), make("tbody"));
    found.querySelector("thead").append(head);
    room.replaceChildren(found);
  }
  room.update = () => table(id, caption, columns, rows, empty, actions);
  found.querySelector("caption").textContent = caption;
  [...found.querySelectorAll("thead th")].forEach((cell, n) => {
    if (n === by.column) cell.setAttribute("aria-sort", by.down ? "descending" : "ascending");
    else cell.removeAttribute("aria-sort");
  });
  const sorted = [...rows];
  if (by.column >= 0) {
    const value = columns[by.column][2];
    const compare = (a, b) => (typeof a === "number" ? a - b : String(a).localeCompare(String(b)));
    sorted.sort((a, b) => compare(value(a), value(b)) * (by.down ? -1 : 1));
  }
  const body = found.querySelector("tbody");
  // Rows are changed in place, so that whoever is on a button stays there.
  while (body.children.length > sorted.length) body.lastChild.remove();
  sorted.forEach((row, n) => {
    let line = body.children[n];
    if (!line) {
      line = make("tr");
      columns.forEach(([title, , , kind], at_column) => line.append(at_column === 0 ? make("th", "", { scope: "row", class: kind }) : make("td", "", { "data-label": title, class: kind })));
      if (actions) line.append(make("td", null, { class: "actions" }));
      body.append(line);
    }
    columns.forEach(([, text], at_column) => {
      const cell = line.children[at_column];
      const shown = text(row);
      if (cell.textContent === shown) return;
      cell.textContent = shown;
      // Longer than any address of IPv4 with its port.
      cell.toggleAttribute("data-long", shown.length > 21);
    });
    if (actions) {
      const cell = line.children[columns.length];
      const wanted = actions(row);
      const same = cell.children.length === wanted.length;
      if (!same) cell.replaceChildren(...wanted.map(([title, , kind]) => make("button", title, { type: "button", class: kind || "" })));
      wanted.forEach(([title, act, , label], button) => {
        cell.children[button].onclick = act;
        cell.children[button].setAttribute("aria-label", label || title);
      });
    }
  });
}
// "wide": left out of a table that is too narrow for all columns.
const number = (title, of, text = count, kind = "") => [title, (row) => (of(row) === null ? "–" : text(of(row))), (row) => of(row) ?? -1, "number " + kind];
const words = (title, of, kind = "") => [title, (row) => of(row) ?? "–", (row) => of(row) ?? "", kind];
// Whatever a client says, which may be long.
const text = (title, of) => words(title, of, "text");

const who = (c) => (c.client ? c.client + " (" + c.address + ")" : c.address);
const CONNECTION = [
  words("Address", (c) => c.address, "whole"), text("Client", (c) => c.client),
  words("Kind", (c) => (c.port === "publishing" ? "SUB" : c.subscriptions > 0 ? "subscriber" : "client")),
  words("State", (c) => (c.slow_seconds !== null ? "slow for " + time(c.slow_seconds) : c.without_credit_seconds !== null ? "no credit for " + time(c.without_credit_seconds) : c.held ? "held back" : c.open ? "ok" : "handshake")),
  number("Queued", (c) => c.queued_bytes, bytes),
  number("Dropped", (c) => c.dropped),
  number("In", (c) => c.received_bytes, bytes),
  number("Out", (c) => c.sent_bytes, bytes),
  number("Subscriptions", (c) => c.subscriptions, count, "wide"),
  number("Last heard from", (c) => c.silent_seconds, (s) => (s < 1 ? "now" : time(Math.floor(s)) + " ago"), "wide"),
  number("Age", (c) => c.age_seconds, time, "wide"),
];
const SLOW = [
  words("Address", (c) => c.address, "whole"), text("Client", (c) => c.client),
  number("Slow for", (c) => c.slow_seconds ?? c.without_credit_seconds, time),
  words("Why", (c) => (c.slow_seconds !== null ? "does not read fast enough" : "gives no credit")),
  number("Queued", (c) => c.queued_bytes, bytes),
  number("Oldest queued", (c) => c.queued_seconds, time, "wide"),
  number("Publishers that wait", (c) => c.holds_publishers),
];
const GROUP = [
  text("Group", (g) => g.name), text("Filter", (g) => g.filter), words("Durable", (g) => (g.durable ? "yes" : "no")),
  number("Members", (g) => g.members), number("Waiting", (g) => g.waiting), number("In\u00a0flight", (g) => g.in_flight),
  number("Redelivered", (g) => g.redelivered), number("Dead", (g) => g.dead_letters),
];
const name_of = (n) => n.name ?? "(all others)";
const name_rate = (name) => {
  if (history.length < 2) return null;
  const before = history[history.length - 2];
  const found = before.names.find((it) => it.name === name.name);
  const seconds = last().status.uptime_seconds - before.status.uptime_seconds;
  return seconds > 0 ? (name.messages - (found ? found.messages : 0)) / seconds : null;
};
const NAME = [
  text("Name", name_of), number("Now", name_rate, rate), number("Messages", (n) => n.messages), number("Bytes", (n) => n.bytes, bytes),
  number("Subscribers", (n) => n.subscribers), number("Groups", (n) => n.groups),
];
const DEAD = [
  text("Name", (d) => d.name), text("Group", (d) => d.group), text("Why", (d) => d.cause + (d.reason ? ": " + d.reason : "")),
  number("Attempts", (d) => d.attempts), number("Bytes", (d) => d.bytes, bytes, "wide"),
  ["Died", (d) => clock(new Date(d.died_unix_seconds * 1000)), (d) => d.died_unix_seconds, ""],
  words("Message", (d) => d.id, "whole wide"),
];

function kick(connection) {
  return [["Close", async () => {
    if (!(await confirmed("Close the connection of " + who(connection) + "? Its client may connect again.", "Close it"))) return;
    await told(change("connections/" + connection.id + "/close", {}), () => "Closed the connection of " + who(connection) + ".");
    lists.connections.load();
  }, "danger", "Close the connection of " + who(connection)]];
}
async function told(promise, text) {
  try { say(text(await promise)); } catch (error) { say("That failed: " + error.message); }
}
function letters(letter) {
  const one = (action, done) => async () => {
    if (action === "purge" && !(await confirmed("Purge the dead letter of " + letter.name + " in " + letter.group + "? The message is gone then.", "Purge it"))) return;
    await told(change("dead/" + action, { group: letter.group, ids: [letter.id] }), () => done + " a dead letter of " + letter.group + ".");
    lists.dead.load();
  };
  const of = " the dead letter " + letter.id + " of " + letter.group;
  return [["Replay", one("replay", "Replayed"), "", "Replay" + of], ["Purge", one("purge", "Purged"), "danger", "Purge" + of]];
}
async function all_letters(action) {
  const group = at("dead-group").value;
  const question = action === "replay" ? "Replay all dead letters of " + group + "? Its members get the messages again." : "Purge all dead letters of " + group + "? The messages are gone then.";
  if (!(await confirmed(question, action === "replay" ? "Replay them" : "Purge them"))) return;
  let [done, from] = [0, null];
  await told((async () => {
    do {
      const changed = await change("dead/" + action, from === null ? { group, all: true } : { group, all: true, from });
      done += changed.done;
      from = changed.next;
    } while (from !== null);
  })(), () => (action === "replay" ? "Replayed " : "Purged ") + count(done) + " dead letters of " + group + ".");
  lists.dead.load();
}

// --- Lists that are asked for in parts ---
function list(id, columns, empty, actions, query) {
  const state = { starts: [""], next: null };
  const bar = at(id + "-bar");
  const before = make("button", "Previous", { type: "button" });
  const after = make("button", "Next", { type: "button" });
  const where = make("span", "", { class: "quiet" });
  before.onclick = () => { state.starts.pop(); state.load(); };
  after.onclick = () => { state.starts.push(state.next); state.load(); };
  bar.append(before, after, where);
  state.load = async () => {
    try {
      const from = state.starts[state.starts.length - 1];
      const found = await get(id + "?" + new URLSearchParams({ limit: PAGE, ...(from ? { from } : {}), ...query() }));
      state.next = found.next;
      before.disabled = state.starts.length < 2;
      after.disabled = found.next === null;
      where.textContent = "Page " + state.starts.length + (found.next === null ? " (last)" : "") + ", as of " + clock(new Date());
      table(id, many(found.items.length, "entry", "entries") + " on this page", columns, found.items, empty, actions);
    } catch (error) {
      where.textContent = "Not available: " + error.message;
    }
  };
  return state;
}
const lists = {};
lists.connections = list("connections", CONNECTION, "Nobody is connected.", kick, () => ({}));
lists.dead = list("dead", DEAD, "There are no dead letters.", letters, () => (at("dead-group").value ? { group: at("dead-group").value } : {}));
{
  const input = make("input", null, { id: "dead-group", type: "text", list: "group-names", placeholder: "all groups", autocomplete: "off" });
  const label = make("label", "Group ", { for: "dead-group" });
  const replay = make("button", "", { type: "button" });
  const purge = make("button", "", { type: "button", class: "danger" });
  const named = () => {
    replay.disabled = purge.disabled = !input.value;
    replay.textContent = "Replay all of " + (input.value || "one group");
    purge.textContent = "Purge all of " + (input.value || "one group");
  };
  named();
  input.addEventListener("input", named);
  input.addEventListener("change", () => { lists.dead.starts = [""]; lists.dead.load(); });
  replay.onclick = () => all_letters("replay");
  purge.onclick = () => all_letters("purge");
  at("dead-bar").prepend(label, input, make("datalist", null, { id: "group-names" }), replay, purge);
}

function show_details(status) {
  const journal = status.journal;
  const rows = [
    ["Journal", journal ? journal.file : "none"],
    ...(journal ? [
      ["Size of its file", bytes(journal.file_bytes)], ["Live in it", bytes(journal.live_bytes)], ["Batches queued", count(journal.queued_batches)],
      ["Messages appended", count(journal.appended_messages)], ["Messages settled", count(journal.settled_messages)],
      ["Compactions", count(journal.compactions)], ["Compactions given up", count(journal.compactions_given_up)],
      ["Recovered at the start", count(status.messages.recovered)],
    ] : []),
    ["Requests", count(status.requests.total)], ["Requests rejected", count(status.requests.rejected)],
    ...Object.entries(status.requests.rejected_by_reason).filter(([, n]) => n > 0).map(([reason, n]) => ["Rejected: " + reason.replaceAll("_", " "), count(n)]),
    ["Duplicates", count(status.messages.duplicate)], ["Acknowledged", count(status.messages.acknowledged)], ["Expired", count(status.messages.expired)],
    ["Dropped", count(status.messages.dropped)], ["Delayed", count(status.messages.delayed)], ["Retained", count(status.messages.retained)],
    ["Connections rejected", count(status.connections.rejected)], ["Subscribers given up", count(status.connections.slow_subscribers_given_up)],
    ["Threads", count(status.process.threads)], ["Processor time", time(status.process.cpu_seconds)],
  ];
  at("details").replaceChildren(...rows.map(([title, value]) => { const row = make("div"); row.append(make("dt", title), make("dd", value)); return row; }));
}

function show(event) {
  const before = last();
  // Another start counts anew.
  if (before && event.status.uptime_seconds < before.status.uptime_seconds) history.length = 0;
  history.push(event);
  while (history.length > KEPT) history.shift();
  const status = event.status;
  at("version").textContent = status.version;
  at("uptime").textContent = "Running for " + time(Math.floor(status.uptime_seconds));
  attention = judge(event);
  show_attention(attention);
  show_state(status);
  show_tiles(status);
  table("slow", "Publishers may have to wait for these; one that gives no credit for too long is not waited for, and loses messages", SLOW, event.slow, "No subscriber is slow.", kick);
  table("groups", many(status.groups.count, "group", "groups") + (event.groups.length < status.groups.count ? ", the first " + event.groups.length + " by name" : ""), GROUP, event.groups, "There are no groups.");
  const names = event.names.filter((name) => name.name !== null || name.messages > 0);
  table("names", "Messages accepted since the HTTP listener started, for up to 100 names in the order of their first message", NAME, names, "Nothing has been published since the HTTP listener started.");
  at("group-names").replaceChildren(...event.groups.map((group) => make("option", null, { value: group.name })));
  show_details(status);
}

// As `mezzenger status` says it, and how much there is to look at.
function show_state(status) {
  const of = (level) => attention.filter((it) => it[0] === level).length;
  const [errors, warnings] = [of("error"), of("warning")];
  const said = [status.journal && status.journal.failure ? "The journal failed" : status.draining ? "Draining" : "Ready"];
  if (errors > 0) said.push(many(errors, "error", "errors"));
  if (warnings > 0) said.push(many(warnings, "warning", "warnings"));
  state("live", said.join(", "), errors > 0 ? "error" : warnings > 0 ? "warning" : "good");
}

// --- The connection to the server ---
let heard = null;
function state(kind, text, level = "error") {
  const shown = at("state");
  if (shown.textContent !== text) shown.textContent = text;
  shown.dataset.state = kind;
  shown.dataset.level = level;
  document.body.dataset.stale = String(kind !== "live" && history.length > 0);
}
// What was good is not known any more; what needed attention may be why.
function gone(why, text = "No figures since " + (heard ? clock(heard) : "the page was opened") + ": " + why) {
  state("gone", text);
  const from = heard ? "Everything below is from " + clock(heard) + "." : "There are no figures yet.";
  show_attention([["error", "Error: " + why + ". " + from], ...attention.filter(([level]) => level !== "good")]);
}
async function listen() {
  const stop = new AbortController();
  // Counted in seconds in which the page runs: a timer of 4 s is over at once when a computer wakes up, before what the server
  // sent meanwhile is read.
  let silence = -SILENT_S;
  const seconds = setInterval(() => {
    silence += 1;
    if (silence >= SILENT_S) stop.abort();
  }, 1000);
  try {
    const answer = await fetch("/api/v1/events", { headers: headers(), cache: "no-store", signal: stop.signal });
    if (answer.status === 401) {
      token = "";
      at("login").hidden = false;
      gone("the server wants its token", "The server wants its token.");
      return false;
    }
    if (!answer.ok) throw new Error((await answer.json()).error);
    at("login").hidden = true;
    lists.connections.load();
    lists.dead.load();
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) throw new Error("the connection ended");
      text += value;
      let end;
      while ((end = text.indexOf("\n\n")) >= 0) {
        const lines = text.slice(0, end).split("\n");
        text = text.slice(end + 2);
        const data = lines.filter((it) => it.startsWith("data: ")).map((it) => it.slice(6)).join("\n");
        if (!data) continue;
        silence = 0;
        const told = JSON.parse(data);
        if (told.error) { gone(told.error); continue; }
        heard = new Date();
        show(told);
      }
    }
  } catch (error) {
    gone(stop.signal.aborted ? "the server is silent" : error instanceof TypeError ? "the server cannot be reached" : error.message);
    return true;
  } finally {
    clearInterval(seconds);
  }
}
async function run() {
  while (await listen()) await new Promise((resolve) => setTimeout(resolve, 1000));
}
setInterval(() => {
  if (document.hidden || at("state").dataset.state !== "live") return;
  if (lists.connections.starts.length === 1) lists.connections.load();
  if (lists.dead.starts.length === 1) lists.dead.load();
}, ASK_AGAIN_MS);
at("login").addEventListener("submit", (event) => {
  event.preventDefault();
  token = at("token").value.trim();
  run();
});
if (document.documentElement.dataset.token === "wanted") {
  at("login").hidden = false;
  state("waiting", "The server wants its token.", "notice");
} else {
  run();
}
