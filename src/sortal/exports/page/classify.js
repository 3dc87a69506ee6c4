// The model in the browser: bytes of an image in, probabilities out. Cropping, resizing and normalising are inside the graph.
import * as ort from "./ort.wasm.bundle.min.mjs";

const LONGEST = 4096; // pixels: a larger photograph is made smaller by the browser first, so that it fits into memory

ort.env.wasm.wasmPaths = { wasm: new URL("./ort-wasm-simd-threaded.wasm", import.meta.url).href };
ort.env.wasm.numThreads = 1; // more would need headers that not every web server sends

export async function open() {
  const about = await (await fetched("model.json")).json();
  const bytes = await (await fetched("model.onnx")).arrayBuffer();
  const session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"], logSeverityLevel: 3 });
  return { about, session };
}

async function fetched(name) {
  const answer = await fetch(new URL(name, import.meta.url));
  if (!answer.ok) throw new Error(`${name}: the server answers ${answer.status}`);
  return answer;
}

// Upright, as it is stored (no colour management, as in training), transparency on white.
export async function pixelsOf(blob) {
  const options = { imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none" };
  let bitmap = await createImageBitmap(blob, options);
  const scale = LONGEST / Math.max(bitmap.width, bitmap.height);
  if (scale < 1) {
    const size = { resizeWidth: Math.max(1, Math.round(bitmap.width * scale)), resizeHeight: Math.max(1, Math.round(bitmap.height * scale)) };
    const smaller = await createImageBitmap(blob, { ...options, ...size, resizeQuality: "high" });
    bitmap.close();
    bitmap = smaller;
  }
  const { width, height } = bitmap;
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return { rgb: withoutAlpha(context.getImageData(0, 0, width, height).data), width, height };
}

function withoutAlpha(rgba) {
  const rgb = new Uint8Array((rgba.length / 4) * 3);
  for (let from = 0, to = 0; from < rgba.length; from += 4, to += 3) {
    rgb[to] = rgba[from];
    rgb[to + 1] = rgba[from + 1];
    rgb[to + 2] = rgba[from + 2];
  }
  return rgb;
}

// Probabilities, a Float32Array with one a class, and how novel the image is: a share of the familiar ones, 0 where not known,
// and the distance that the graph gives.
export async function classify(model, { rgb, width, height }) {
  const image = new ort.Tensor("uint8", rgb, [height, width, 3]);
  const found = await model.session.run({ image });
  const distance = found.novelty && model.about.novelty ? found.novelty.data[0] : null;
  const novelty = distance === null ? 0 : shareOf(model.about.novelty.distances, distance);
  return { probabilities: found.probabilities.data, novelty, distance };
}

// Where a distance stands among those of familiar images, as decision.py of sortal has it: linear between their percentiles.
function shareOf(distances, distance) {
  const last = distances.length - 1;
  if (distance >= distances[last]) return 1;
  if (distance <= distances[0]) return 0;
  let k = 0;
  while (distances[k + 1] <= distance) k++;
  return (k + (distance - distances[k]) / (distances[k + 1] - distances[k])) / last;
}

// What is said, true or false for each class: every label that reaches its threshold; of one label an image the likeliest, or
// that of the lowest expected cost, or none where the rule says to abstain.
export function decide(about, { probabilities, novelty }) {
  if (about.task === "multi-label") return about.classes.map((_, k) => probabilities[k] >= about.thresholds[k]);
  const rule = about.decision;
  const costs = rule.costs.length
    ? about.classes.map((_, k) => rule.costs.reduce((sum, row, truth) => sum + probabilities[truth] * row[k], 0))
    : about.classes.map((_, k) => -probabilities[k]);
  const lowest = Math.min(...costs);
  const best = costs.indexOf(lowest);
  const silent =
    (rule.costs.length && rule.abstain_cost !== null && lowest > rule.abstain_cost) ||
    probabilities[best] < rule.threshold ||
    novelty > rule.novelty;
  return about.classes.map((_, k) => !silent && k === best);
}
