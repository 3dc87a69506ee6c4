// What a person sees: drop, paste or choose an image, read the answer.
import { classify, decide, open, pixelsOf } from "./classify.js";

const MOST = 5;
const at = (id) => document.getElementById(id);
let turn = 0;

function say(text, wrong = false) {
  at("status").textContent = text;
  at("status").classList.toggle("wrong", wrong);
}

const model = open();
model.then(
  ({ about }) => {
    at("what").textContent = `${about.classes.length} classes: ${about.classes.slice(0, 12).join(", ")}${about.classes.length > 12 ? " …" : ""}`;
    at("licence").textContent = `Licence of the model: ${about.licence}.`;
    say("ready");
    document.body.dataset.ready = "yes";
  },
  (error) => say(`The model could not be loaded: ${error.message}`, true),
);

async function show(blob) {
  const mine = ++turn; // an answer that comes after a newer image was dropped is not shown
  const began = performance.now();
  at("answers").replaceChildren();
  if (at("shown").src) URL.revokeObjectURL(at("shown").src);
  at("shown").src = URL.createObjectURL(blob);
  at("shown").hidden = false;
  at("invite").textContent = "Another one? Drop, paste or choose it.";
  say("looking …");
  try {
    const { about, session } = await model;
    let pixels;
    try {
      pixels = await pixelsOf(blob);
    } catch {
      at("shown").hidden = true;
      throw new Error("this is no image that the browser can read");
    }
    const found = await classify({ about, session }, pixels);
    if (mine !== turn) return;
    const said = decide(about, found);
    list(about, found.probabilities, said);
    const silent = said.includes(true) ? "" : "The model does not say: it is not sure enough. ";
    say(`${silent}${pixels.width} × ${pixels.height} pixels, ${Math.round(performance.now() - began)} ms`);
  } catch (error) {
    if (mine === turn) say(error.message, true);
  }
}

function list(about, probabilities, said) {
  const order = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]);
  const rows = order.slice(0, Math.max(MOST, said.filter(Boolean).length)).map((k) => {
    const row = document.createElement("li");
    row.classList.toggle("said", said[k]);
    const parts = [["span", "name", about.classes[k]], ["span", "share", `${(100 * probabilities[k]).toFixed(1)} %`]];
    for (const [tag, name, text] of parts) {
      const part = document.createElement(tag);
      part.className = name;
      part.textContent = text;
      row.append(part);
    }
    const bar = document.createElement("progress");
    bar.value = probabilities[k];
    bar.setAttribute("aria-hidden", "true");
    row.append(bar);
    return row;
  });
  at("answers").replaceChildren(...rows);
}

// A picture of a few pixels is shown large, each pixel a square.
at("shown").addEventListener("load", (event) => event.target.classList.toggle("small", event.target.naturalWidth < 96));
at("file").addEventListener("change", (event) => event.target.files[0] && show(event.target.files[0]));
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    at("drop").classList.toggle("over", name === "dragover");
    const file = name === "drop" && event.dataTransfer.files[0];
    if (file) show(file);
  });
}
document.addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files].find((each) => each.type.startsWith("image/"));
  if (file) show(file);
});
