
// The desk: pictures are marked with one key, and the server has every mark on the disk before it says so.

const desk = known.desk;
const told = document.getElementById("told");
const items = new Map(); // element -> { sources, labels: source to proposed labels, groups: of copies, which show the same }
let group = null; // the group that the next picture joins
let unsaved = desk.unsaved;
let before = Promise.resolve(); // one after the other: a picture joins the group that the one before it began

/** Ask the server; what it cannot do is told, and null comes back. */
async function ask(act, values) {
  try {
    const answer = await fetch(act, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Sortal-Token": desk.token },
      body: JSON.stringify(values),
    });
    const text = await answer.text();
    if (answer.ok) return JSON.parse(text);
    told.textContent = plain(refused(text));
  } catch (error) {
    told.textContent =
      "The server has ended; all that was marked is kept. Start it again with sortal report RUN --edit, then load its page.";
  }
  return null;
}

/** Why the server did not do it, and the cure. */
function refused(text) {
  try {
    const { error, hint } = JSON.parse(text);
    return `Not done: ${error}; ${hint}`;
  } catch (error) {
    return `Not done: ${text}; load the page anew`;
  }
}

/** Mark the pictures of an element, after all that was marked before. */
function mark(element, action) {
  const row = items.get(element); // now: when its turn comes, the list may hold another element for it
  before = before.then(() => marked(row, action));
}

async function marked({ sources, labels, groups }, action) {
  const values = { action, sources };
  if (action === "accept") {
    if (!Object.keys(labels).length) return void (told.textContent = "No label is proposed here; l chooses one.");
    Object.assign(values, { action: "label", labels });
  }
  if (action === "group") Object.assign(values, { group: sources.length > 1 ? null : group, groups });
  await send(values);
}

async function send(values) {
  const found = await ask("marks", values);
  if (!found) return;
  Object.assign(desk.states, found.states);
  if (values.action === "group" && values.sources.length === 1) group = found.group;
  unsaved = found.unsaved;
  list();
  told.textContent = plain(`${found.told}. ${unsaved} not saved yet.`);
}

function save() {
  before = before.then(saved);
}

async function saved() {
  const found = await ask("save", {});
  if (!found) return;
  unsaved = 0;
  desk.command = found.command;
  Object.assign(desk.states, found.states);
  list();
  told.textContent = plain(found.told + (found.command ? `: ${found.command}` : "."));
}

/** Say on an element what its pictures are by now. */
function show(element) {
  const said = new Set(items.get(element).sources.map((source) => desk.states[source]?.told).filter(Boolean));
  const badge = element.querySelector(":scope > .now");
  badge.textContent = plain([...said].join("; "));
  badge.hidden = !said.size;
  element.classList.toggle("marked", said.size > 0);
  const all = items.get(element).sources;
  const aside = all.every((source) => desk.states[source]?.by === "before");
  const undo = element.querySelector(":scope > .bar-of-marks > .undo");
  undo.textContent = (aside ? "Use again" : "Undo") + (element.classList.contains("decision") ? ` all ${all.length.toLocaleString("en")}` : "");
}

/** Let a person mark an element. */
function adopt(element, { sources, labels, groups = [], only = ["accept", "exclude", "group", "undo"] }, name) {
  items.set(element, { sources, labels, groups, only });
  element.tabIndex = 0;
  element.setAttribute("aria-label", plain(name));
  element.setAttribute("role", "group");
  const bar = make("div", "bar-of-marks");
  const press = (key, text, action) => {
    if (!only.includes(action)) return;
    const button = make("button", action, text);
    button.type = "button";
    button.title = `key ${key}`;
    button.addEventListener("click", () => mark(element, action));
    bar.append(button);
  };
  const proposed = [...new Set(Object.values(labels).map((names) => names.join(", ") || "no label"))];
  if (proposed.length === 1) press("a", `It is ${proposed[0]}`, "accept");
  const several = sources.length > 1;
  // Of copies one should stay: each is set aside by itself.
  if (!groups.length) press("x", several ? `Exclude all ${sources.length}` : "Exclude", "exclude");
  press("g", several ? "Group them" : "Group", "group");
  press("u", "Undo", "undo");
  if (sources.length === 1) bar.append(chooser(element, sources[0]));
  element.append(make("p", "now"), bar);
  show(element);
}

/** A choice of any class, for what is neither right nor proposed. */
function chooser(element, source) {
  const select = make("select", "", make("option", "", "Other label"));
  // Only now: a thousand classes behind each of a hundred pictures would be felt.
  const fill = () => select.append(...desk.classes.map((name) => make("option", "", name)));
  select.addEventListener("focus", fill, { once: true });
  select.setAttribute("aria-label", plain(`Label of ${source}`));
  select.addEventListener("change", () => {
    const at = select.selectedIndex - 1;
    select.selectedIndex = 0;
    if (at < 0) return;
    const labels = { [source]: [desk.classes[at]] };
    before = before.then(() => send({ action: "label", sources: [source], labels }));
    element.focus();
  });
  return select;
}

// What is marked: by where it stands, then by what it is, a few of each with their pictures.
const KINDS = [["mark", "Not saved yet"], ["version", "Saved"], ["before", "Set aside before the training"]];
const PICTURES = 24;
const DECISIONS = 40;
const decided = document.querySelector("#marked .decided");
const shown = new Map(); // key of a kind or a decision -> how many of it are shown

/** A picture that the desk gives when it comes into view. */
function picture(source) {
  const image = make("img");
  image.loading = "lazy";
  image.alt = plain(source);
  image.addEventListener("error", () => image.replaceWith(make("span", "blank", "no picture")));
  image.src = `picture?source=${encodeURIComponent(source)}`;
  return image;
}

/** A button that shows more of what has this key. */
function rest(key, count, first) {
  const left = count - (shown.get(key) ?? first);
  if (left <= 0) return [];
  const button = make("button", "away", `${left.toLocaleString("en")} more`);
  button.type = "button";
  button.addEventListener("click", () => {
    shown.set(key, (shown.get(key) ?? first) * 4);
    list();
  });
  return [button];
}

/** Images of which the same was decided. */
function decision(key, said, sources) {
  const head = make("div", "decision", make("p", "", make("b", "", said), ` ${counted(sources.length)}`));
  const thumbs = make("ul", "thumbs");
  if (sources.length > 1) {
    head.dataset.key = key;
    adopt(head, { sources, labels: {}, only: ["undo"] }, `${said}, ${counted(sources.length)}`);
  }
  for (const source of sources.slice(0, shown.get(key) ?? PICTURES)) {
    const name = make("p", "source", source);
    name.title = plain(source);
    const item = make("li", "", picture(source), name);
    item.dataset.key = source;
    adopt(item, { sources: [source], labels: {} }, source);
    thumbs.append(item);
  }
  return [head, thumbs, ...rest(key, sources.length, PICTURES)];
}

function counted(count) {
  return count === 1 ? "1 image" : `${count.toLocaleString("en")} images`;
}

/** Say what all images are by now, where they are shown and in the list of what is marked. */
function list() {
  const keys = () => [...decided.querySelectorAll("[data-key]")];
  const held = decided.contains(document.activeElement) ? document.activeElement.closest("[data-key]") : null;
  const at = keys().indexOf(held);
  for (const element of items.keys()) if (decided.contains(element)) items.delete(element);
  const parts = [];
  for (const [by, title] of KINDS) {
    const found = new Map();
    for (const [source, state] of Object.entries(desk.states)) {
      if (state.by !== by) continue;
      const said = state.told.replace(/in group .*$/, "in a group"); // or each pair of copies would stand by itself
      if (!found.has(said)) found.set(said, []);
      found.get(said).push(source);
    }
    if (!found.size) continue;
    const total = [...found.values()].reduce((sum, sources) => sum + sources.length, 0);
    parts.push(make("h3", "", `${title}: ${counted(total)}`));
    for (const [said, sources] of [...found].slice(0, shown.get(by) ?? DECISIONS)) {
      parts.push(...decision(`${by} ${said}`, said, sources));
    }
    parts.push(...rest(by, found.size, DECISIONS));
  }
  decided.replaceChildren(...(parts.length ? parts : [make("p", "quiet", "Nothing yet.")]));
  if (held) {
    const now = keys();
    const same = now.find((element) => element.dataset.key === held.dataset.key);
    (same ?? now[Math.min(at, now.length - 1)] ?? document.querySelector("#marked h2")).focus();
  }
  for (const element of items.keys()) show(element);
  const count = Object.values(desk.states).filter((state) => state.by === "mark" || state.by === "version").length;
  document.getElementById("count").textContent = count ? `${count.toLocaleString("en")} marked` : "";
  const train = document.getElementById("train");
  if (desk.command) train.replaceChildren("To train on what is saved, type ", make("code", "", desk.command));
  else train.textContent = "Saving writes a new version of the manifest; then it stands here what to type to train on it.";
}

for (const element of document.querySelectorAll("[data-mark]")) {
  const row = desk.marks[Number(element.dataset.mark)];
  adopt(element, row, row.sources.length === 1 ? row.sources[0] : `${row.sources.length} images`);
}
document.addEventListener("shown", (event) => {
  for (const element of items.keys()) if (!element.isConnected) items.delete(element);
  for (const element of event.detail.querySelectorAll("[data-source]")) {
    const { source, proposed } = element.dataset;
    adopt(element, { sources: [source], labels: proposed ? { [source]: [proposed] } : {} }, source);
  }
});

/** The next element, or the one before, that can be marked and is not folded away. */
function beside(element, step) {
  const all = [...document.querySelectorAll("[role=group]")].filter((each) => items.has(each) && each.getClientRects().length);
  const at = all.indexOf(element);
  return all[at < 0 ? 0 : Math.min(Math.max(at + step, 0), all.length - 1)];
}

list();
if (unsaved) told.textContent = `${unsaved} not saved yet.`;
else if (desk.command) told.textContent = "All that is marked is saved.";
document.getElementById("save").addEventListener("click", save);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("select")) return;
  const element = event.target.closest("[role=group]");
  if (event.key === "s") return save();
  if (event.key === "n") {
    group = null;
    told.textContent = "The next picture that is grouped begins a new group.";
  }
  if (event.key === "j" || event.key === "k") beside(element, event.key === "j" ? 1 : -1)?.focus();
  if (!items.has(element)) return;
  const action = { a: "accept", x: "exclude", g: "group", u: "undo" }[event.key];
  if (action && !items.get(element).only.includes(action)) return;
  if (action === "exclude" && items.get(element).groups.length) {
    told.textContent = "Of copies one should stay: exclude the others one by one.";
  } else if (action) {
    mark(element, action);
  }
  if (event.key === "l") {
    event.preventDefault(); // or the letter would choose a class
    element.querySelector("select")?.focus();
  }
});
