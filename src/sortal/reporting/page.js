"use strict";
// What the page does: a cell of the confusion matrix shows its pictures; all that is folded is unfolded for print.
// Names of files and classes only ever become text, never markup.

const known = JSON.parse(document.getElementById("known").textContent);
const panel = document.getElementById("cell");
const STEERING = /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** Marks that would turn the direction of the text around them, spelt out. */
function plain(text) {
  return text.replace(STEERING, (mark) => "\\u" + mark.charCodeAt(0).toString(16).padStart(4, "0"));
}

/** An element with a class and text or children. */
function make(tag, className, ...inside) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...inside.map((part) => (typeof part === "string" ? plain(part) : part)));
  return element;
}

/** One picture behind a cell, with how sure the model was. */
function pictured([place, source, probability], proposed) {
  let image;
  if (place >= 0) {
    const [address, tiny] = known.pictures[place];
    image = make("img", tiny ? "tiny" : "");
    image.src = address;
    image.alt = plain(source);
  } else {
    image = make("span", "blank", "no thumbnail");
  }
  const sure = make("data", "sure", (100 * probability).toFixed(1) + "%");
  sure.value = probability;
  const name = make("p", "source", source);
  name.title = plain(source);
  const item = make("li", "", image, make("p", "", sure), name);
  item.dataset.source = source;
  if (proposed) item.dataset.proposed = proposed;
  return item;
}

let opener = null; // the button whose pictures are shown

function close() {
  if (!opener) return;
  opener.setAttribute("aria-expanded", "false");
  opener.focus();
  opener = null;
  panel.hidden = true;
  panel.replaceChildren();
}

/** Show the pictures of a cell below the matrix; once more, and they go. */
function toggle(button, cell) {
  if (opener === button) return close();
  if (opener) opener.setAttribute("aria-expanded", "false");
  opener = button;
  button.setAttribute("aria-expanded", "true");
  const { told, count, images, proposed } = known.cells[cell];
  const away = make("button", "away", "Close");
  away.type = "button";
  away.addEventListener("click", close);
  const list = make("ul", "thumbs", ...images.map((image) => pictured(image, proposed)));
  const rest = count - images.length;
  panel.replaceChildren(make("div", "head", make("h3", "", told), away), list);
  if (rest > 0) panel.append(make("p", "quiet", `and ${rest.toLocaleString("en")} more, which the page does not hold`));
  panel.hidden = false;
  document.dispatchEvent(new CustomEvent("shown", { detail: panel }));
  panel.scrollIntoView({ block: "nearest", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
}

/** Make a button of what an element says. */
function buttonOf(element, cell, label) {
  const button = make("button", "open");
  button.type = "button";
  button.append(...element.childNodes);
  button.setAttribute("aria-expanded", "false");
  button.setAttribute("aria-controls", "cell");
  button.setAttribute("aria-label", plain(label) + ", show pictures");
  button.title = plain(label);
  button.addEventListener("click", () => toggle(button, cell));
  element.append(button);
  return button;
}

// The cells that have pictures: [row][column], one of them in the order of Tab, the others by arrow keys.
const grid = [];
for (const table of document.querySelectorAll("table[data-cells]")) {
  for (const [row, line] of [...table.tBodies[0].rows].entries()) {
    grid[row] = [];
    for (const [column, place] of [...line.cells].slice(1).entries()) {
      const cell = `${row}-${table.dataset.cells ? table.dataset.cells.split(" ")[column] : column}`;
      if (!(cell in known.cells)) continue;
      grid[row][column] = buttonOf(place, cell, known.cells[cell].told);
      grid[row][column].tabIndex = -1;
      place.removeAttribute("title");
    }
  }
}
const first = grid.flat().find(Boolean);
if (first) first.tabIndex = 0;

const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
document.getElementById("confusion").addEventListener("keydown", (event) => {
  if (event.key === "Escape") return close();
  const step = STEPS[event.key];
  const row = grid.findIndex((line) => line.includes(event.target));
  if (!step || row < 0) return;
  event.preventDefault();
  const [from, to] = [event.target, next(row, grid[row].indexOf(event.target), step)];
  if (!to) return;
  from.tabIndex = -1;
  to.tabIndex = 0;
  to.focus();
});

/** The next cell with pictures in a direction; over a line without any at that place, the one nearest to it. */
function next(row, column, [down, right]) {
  if (right) {
    for (let at = column + right; at >= 0 && at < grid[row].length; at += right) if (grid[row][at]) return grid[row][at];
    return null;
  }
  for (let at = row + down; at >= 0 && at < grid.length; at += down) {
    const there = [...grid[at].keys()].filter((place) => grid[at][place]);
    if (there.length) return grid[at][there.reduce((best, place) => (Math.abs(place - column) < Math.abs(best - column) ? place : best))];
  }
  return null;
}

for (const line of document.querySelectorAll("li[data-cell]")) {
  if (line.dataset.cell in known.cells) buttonOf(line.firstElementChild, line.dataset.cell, known.cells[line.dataset.cell].told);
}

// On paper nothing can be unfolded.
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  for (const each of folded) each.open = true;
});
addEventListener("afterprint", () => {
  for (const each of folded) each.open = false;
});
