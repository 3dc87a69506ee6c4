"use strict";
// An image in, an answer out. Whatever a server says is put into the page as text, never as markup.
const at = id => document.getElementById(id);
const percent = share => (100 * share).toFixed(share > 0.9995 && share < 1 ? 2 : 1) + "%";
let latest = 0, address = "";

function headers(extra = {}) {
  const token = at("token").value;
  return token ? { ...extra, Authorization: "Bearer " + token } : extra;
}

function problem(text) {
  at("problem").textContent = text;
  at("problem").hidden = !text;
}

async function begin() {
  const answer = await fetch("openapi.json", { headers: headers() }).catch(() => null);
  if (!answer) return problem("The server cannot be reached.");
  at("secret").hidden = answer.status !== 401 && !at("token").value;
  if (!answer.ok) return;
  const parameters = (await answer.json()).paths["/predict"].post.parameters;
  const names = parameters.find(each => each.name === "model").schema.enum;
  at("model").replaceChildren(...names.map(name => new Option(name, name)));
  at("models").hidden = names.length < 2;
}

async function ask(file) {
  const mine = ++latest;
  stop();
  problem("");
  if (address) URL.revokeObjectURL(address);
  address = URL.createObjectURL(file);
  at("image").src = address;
  at("shown").hidden = false;
  at("map").hidden = true;
  at("invitation").hidden = true;
  at("answer").classList.add("busy");
  const query = new URLSearchParams({ top: "5", ...(at("model").value ? { model: at("model").value } : {}) });
  try {
    // The answer first, and the map, which takes a while, when it is there.
    const told = await send("predict", file, query);
    if (mine !== latest) return;
    show(told.predictions[0]);
    const drawn = (await send("explain", file, query)).map;
    if (mine === latest) draw(drawn);
  } catch (error) {
    if (mine !== latest) return;
    problem(error.message);
    at("answer").hidden = at("map").hidden || at("answer").classList.contains("busy");
  } finally {
    if (mine === latest) at("answer").classList.remove("busy");
  }
}

async function send(where, file, query) {
  const type = file.type.startsWith("image/") ? file.type : "application/octet-stream";
  const answer = await fetch(where + "?" + query, { method: "POST", body: file, headers: headers({ "Content-Type": type }) })
    .catch(() => { throw new Error("The server cannot be reached."); });
  const told = await answer.json().catch(() => ({}));
  if (answer.status === 401) at("secret").hidden = false;
  if (!answer.ok) throw new Error(told.error ? told.error + (told.hint ? ": " + told.hint : "") : "The server answered " + answer.status + ".");
  return told;
}

function show(prediction) {
  const several = "labels" in prediction;
  const said = several ? prediction.labels.join(", ") : prediction.label;
  at("label").textContent = said || (several ? "None of them" : "Not sure");
  at("sure").textContent = several ? "" : prediction.label === null
    ? "The model abstains: its best guess is not sure enough."
    : percent(prediction.probability) + " sure";
  at("ranked").replaceChildren(...prediction.top.map(each => {
    const row = document.createElement("li"), name = document.createElement("span"), share = document.createElement("span");
    const bar = document.createElement("meter");
    name.textContent = each.label;
    share.textContent = percent(each.probability);
    bar.max = 1;
    bar.value = each.probability;
    bar.setAttribute("aria-label", each.label);
    row.append(name, share, bar);
    return row;
  }));
  at("look").hidden = at("key").hidden = true;
  at("answer").hidden = false;
}

// The network saw the centred square's middle; the map lies over that part of the image alone.
function draw(drawn) {
  const rows = drawn.rows, canvas = at("map"), image = at("image");
  canvas.width = rows[0].length;
  canvas.height = rows.length;
  const context = canvas.getContext("2d"), pixels = context.createImageData(canvas.width, canvas.height);
  const most = Math.max(1e-9, ...rows.flat());
  rows.flat().forEach((value, index) => pixels.data.set([220, 70, 20, Math.round(190 * value / most)], 4 * index));
  context.putImageData(pixels, 0, 0);
  const side = Math.min(image.naturalWidth, image.naturalHeight) * drawn.share;
  const width = side / image.naturalWidth, height = side / image.naturalHeight;
  Object.assign(canvas.style, {
    width: 100 * width + "%", height: 100 * height + "%", left: 50 * (1 - width) + "%", top: 50 * (1 - height) + "%",
  });
  canvas.hidden = !at("overlay").checked;
  at("look").hidden = at("key").hidden = false;
}

function first(list) {
  return [...(list || [])].find(file => file);
}

let stream = null;
function stop() {
  if (stream) stream.getTracks().forEach(track => track.stop());
  stream = null;
  at("video").hidden = at("shoot").hidden = true;
}

at("camera").hidden = !(navigator.mediaDevices && navigator.mediaDevices.getUserMedia);
at("camera").addEventListener("click", async () => {
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch {
    return problem("The camera cannot be used.");
  }
  at("video").srcObject = stream;
  await at("video").play();
  at("video").hidden = at("shoot").hidden = false;
  at("invitation").hidden = at("shown").hidden = true;
});
at("shoot").addEventListener("click", () => {
  const video = at("video"), canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  canvas.toBlob(blob => ask(blob), "image/jpeg", 0.95);
});
for (const id of ["file", "photo"]) {
  at(id).addEventListener("change", event => {
    const file = first(event.target.files);
    event.target.value = "";
    if (file) ask(file);
  });
}
at("token").addEventListener("change", begin);
at("secret").addEventListener("submit", event => { event.preventDefault(); begin(); });
at("overlay").addEventListener("change", event => { at("map").hidden = !event.target.checked; });
addEventListener("dragover", event => { event.preventDefault(); at("drop").classList.add("over"); });
addEventListener("dragleave", () => at("drop").classList.remove("over"));
addEventListener("drop", event => {
  event.preventDefault();
  at("drop").classList.remove("over");
  const file = first(event.dataTransfer.files);
  file ? ask(file) : problem("That was no file: drop an image.");
});
addEventListener("paste", event => {
  const file = first(event.clipboardData.files);
  if (file) ask(file);
});
begin();
